// swift-tools-version: 6.2
import PackageDescription

// The house rules hold in every room: memory safety is strict, every warning is an error, and a target names all
// that it may import (`swift build --explicit-target-dependency-import-check error`).
let strict: [SwiftSetting] = [
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableExperimentalFeature("Lifetimes"),
]

let package = Package(
  name: "sharedpack",
  platforms: [.macOS(.v15)],
  products: [
    .library(name: "SharedPack", targets: ["SharedPack"]),
    .executable(name: "sharedpack", targets: ["SharedPackCommand"]),
    .executable(name: "sharedpack-serve", targets: ["SharedPackServeCommand"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    // The server's; the library and the command line do without.
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-extras", from: "1.34.1"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0", traits: []),
    .package(url: "https://github.com/apple/swift-log", from: "1.14.0"),
  ],
  targets: [
    // C libraries of the system.
    .systemLibrary(name: "CCrypto", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CXXHash", providers: [.apt(["libxxhash-dev"])]),
    .systemLibrary(name: "CZstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CLz4", providers: [.apt(["liblz4-dev"])]),

    // The foundations: each stands on nothing of ours.
    .target(name: "CKernels"),
    .target(name: "CMappingFaults"),
    .target(name: "PackedTiles", dependencies: ["CKernels"], swiftSettings: strict),
    .target(name: "CanonicalJSON", swiftSettings: strict),
    .target(name: "Templates", swiftSettings: strict),
    .target(name: "SeededRandom", swiftSettings: strict),
    .target(
      name: "FileAccess",
      dependencies: ["CCrypto", "CXXHash", "CZstd", "CZlib", "CLz4", "CMappingFaults"],
      swiftSettings: strict),
    .target(name: "Tokenization", dependencies: ["CanonicalJSON", "Templates"], swiftSettings: strict),
    .target(name: "ContextTrees", dependencies: ["SeededRandom"], swiftSettings: strict),
    .target(
      name: "EvaluationTasks", dependencies: ["CanonicalJSON", "SeededRandom", "Tokenization"], swiftSettings: strict),

    // The formats and the engine.
    .target(name: "NodeBlocks", dependencies: ["FileAccess", "PackedTiles"], swiftSettings: strict),
    .target(name: "ModelPacks", dependencies: ["FileAccess", "CanonicalJSON", "PackedTiles"], swiftSettings: strict),
    .target(
      name: "Conversion",
      dependencies: ["ModelPacks", "FileAccess", "CanonicalJSON", "PackedTiles", "Tokenization"],
      swiftSettings: strict),
    .target(
      name: "LlamaRuntime",
      dependencies: [
        "ModelPacks", "CKernels", "PackedTiles", "ContextTrees", "NodeBlocks", "SeededRandom", "FileAccess",
      ],
      swiftSettings: strict),
    .target(
      name: "TreeStore", dependencies: ["FileAccess", "CanonicalJSON", "ContextTrees", "NodeBlocks"],
      swiftSettings: strict),

    // What people use.
    .target(
      name: "SharedPack",
      dependencies: [
        "FileAccess", "ModelPacks", "Templates", "Tokenization", "LlamaRuntime", "ContextTrees", "NodeBlocks",
        "Conversion", "PackedTiles", "TreeStore", "CanonicalJSON",
      ],
      swiftSettings: strict),
    .target(
      name: "Evaluation",
      dependencies: [
        "SharedPack", "Conversion", "CanonicalJSON", "ContextTrees", "EvaluationTasks", "FileAccess", "LlamaRuntime",
        "ModelPacks", "NodeBlocks", "Tokenization", "SeededRandom", "TreeStore",
      ], swiftSettings: strict),
    .target(
      name: "Benchmarking",
      dependencies: [
        "SharedPack", "CanonicalJSON", "ContextTrees", "FileAccess", "LlamaRuntime", "ModelPacks", "NodeBlocks",
        "SeededRandom", "TreeStore",
      ],
      swiftSettings: strict),
    .target(
      name: "ChatService", dependencies: ["SharedPack", "CanonicalJSON", "FileAccess", "LlamaRuntime"],
      swiftSettings: strict),
    .target(
      name: "HTTPService",
      dependencies: [
        "ChatService", "SharedPack", "CanonicalJSON", "FileAccess",
        .product(name: "HummingbirdCore", package: "hummingbird"), .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
        .product(name: "HTTPTypes", package: "swift-http-types"), .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: strict),
    .target(
      name: "CommandSupport",
      dependencies: ["FileAccess", "ModelPacks", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      swiftSettings: strict),
    .executableTarget(
      name: "SharedPackServeCommand",
      dependencies: [
        "CommandSupport", "HTTPService", "ChatService", "SharedPack", "FileAccess",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),
    // Not named like its product: `sharedpack` and `SharedPack` are one folder on a file system that ignores case.
    .executableTarget(
      name: "SharedPackCommand",
      dependencies: [
        "CommandSupport", "SharedPack", "Conversion", "Evaluation", "EvaluationTasks", "Benchmarking", "CanonicalJSON",
        "ContextTrees",
        "FileAccess", "LlamaRuntime", "ModelPacks", "NodeBlocks", "Tokenization", "TreeStore",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),

    .testTarget(name: "CanonicalJSONTests", dependencies: ["CanonicalJSON", "Fuzzing"], swiftSettings: strict),
    .testTarget(
      name: "TemplatesTests", dependencies: ["Templates", "CanonicalJSON", "Fuzzing", "SeededRandom"],
      resources: [.copy("Fixtures")], swiftSettings: strict),
    .testTarget(name: "CKernelsTests", dependencies: ["CKernels", "SeededRandom"], swiftSettings: strict),
    .testTarget(
      name: "FileAccessTests", dependencies: ["FileAccess", "FaultInjection", "Fuzzing"], swiftSettings: strict),
    .testTarget(name: "PackedTilesTests", dependencies: ["PackedTiles"], swiftSettings: strict),
    .testTarget(
      name: "TokenizationTests", dependencies: ["Tokenization", "Fuzzing", "SeededRandom", "Templates"],
      swiftSettings: strict),
    .testTarget(name: "SeededRandomTests", dependencies: ["SeededRandom"], swiftSettings: strict),
    .testTarget(name: "ContextTreesTests", dependencies: ["ContextTrees", "SeededRandom"], swiftSettings: strict),
    .testTarget(
      name: "NodeBlocksTests", dependencies: ["NodeBlocks", "FileAccess", "PackedTiles"], swiftSettings: strict),
    .testTarget(
      name: "ModelPacksTests", dependencies: ["ModelPacks", "FileAccess", "CanonicalJSON", "Fuzzing", "PackedTiles"],
      swiftSettings: strict),
    .testTarget(
      name: "ConversionTests",
      dependencies: [
        "Conversion", "ModelPacks", "FileAccess", "FaultInjection", "Fuzzing", "CanonicalJSON", "PackedTiles",
        "SeededRandom", "TinyCheckpoint", "Tokenization",
      ],
      swiftSettings: strict),
    .testTarget(
      name: "LlamaRuntimeTests",
      dependencies: [
        "LlamaRuntime", "ModelPacks", "PackedTiles", "ContextTrees", "NodeBlocks", "FileAccess", "SeededRandom",
        "CanonicalJSON",
      ],
      resources: [.copy("Fixtures")], swiftSettings: strict),
    .testTarget(
      name: "TreeStoreTests",
      dependencies: [
        "TreeStore", "FileAccess", "CanonicalJSON", "ContextTrees", "FaultInjection", "Fuzzing", "NodeBlocks",
      ],
      swiftSettings: strict),
    .testTarget(
      name: "EvaluationTasksTests", dependencies: ["EvaluationTasks", "CanonicalJSON", "SeededRandom", "Tokenization"],
      swiftSettings: strict),
    .testTarget(
      name: "EvaluationTests",
      dependencies: [
        "Evaluation", "SharedPack", "Conversion", "CanonicalJSON", "ContextTrees", "EvaluationTasks", "FileAccess",
        "LlamaRuntime", "ModelPacks", "NodeBlocks", "TinyCheckpoint",
      ], resources: [.copy("Fixtures")], swiftSettings: strict),
    .testTarget(
      name: "SharedPackTests",
      dependencies: [
        "SharedPack", "Conversion", "CanonicalJSON", "ContextTrees", "FileAccess", "LlamaRuntime", "ModelPacks",
        "NodeBlocks", "TinyCheckpoint", "Tokenization", "FaultInjection", "SeededRandom", "TreeStore",
      ], swiftSettings: strict),
    .testTarget(
      name: "ChatServiceTests",
      dependencies: [
        "ChatService", "SharedPack", "CanonicalJSON", "Conversion", "FileAccess", "Fuzzing", "LlamaRuntime",
        "TinyCheckpoint",
      ], swiftSettings: strict),
    .testTarget(
      name: "HTTPServiceTests",
      dependencies: [
        "HTTPService", "ChatService", "SharedPack", "Conversion", "FileAccess", "TinyCheckpoint",
        .product(name: "HTTPTypes", package: "swift-http-types"),
      ], swiftSettings: strict),
    // Runs the built program.
    .testTarget(
      name: "SharedPackCommandTests",
      dependencies: ["SharedPackCommand", "SharedPack", "CanonicalJSON", "FileAccess", "ModelPacks", "TinyCheckpoint"],
      swiftSettings: strict),
    // What several of them share.
    .target(
      name: "TinyCheckpoint", dependencies: ["Conversion", "ModelPacks", "FileAccess", "CanonicalJSON"],
      path: "Tests/TinyCheckpoint", swiftSettings: strict),
    .target(name: "FaultInjection", dependencies: ["FileAccess"], path: "Tests/FaultInjection", swiftSettings: strict),
    .target(name: "Fuzzing", path: "Tests/Fuzzing", resources: [.copy("Corpus")], swiftSettings: strict),
  ]
)
