import ArgumentParser
import CanonicalJSON
import FileAccess
import ModelPacks
import TreeStore

/// What a path leads to, told by its first bytes.
enum Artifact {
  case pack, segment, store

  init(_ path: String) throws(Refusal) {
    switch Directory.exists(path) {
    case nil: throw Refusal(.missingFile, file: path, "does not exist")
    case .directory: self = .store
    default:
      let file = try MappedFile(path)
      let start = file.bytes.extracting(first: 8).array
      if start == ModelPack.magic {
        self = .pack
      } else if start == Segment.magic {
        self = .segment
      } else {
        throw Refusal(.unknownFile, file: path, "is neither a model pack nor a segment of a tree store")
      }
    }
  }
}

extension Refusal.Name {
  static let unknownFile = Refusal.Name("unknown-file", .badInput)
}

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Explain a model pack, a tree store or one of its segments.",
    discussion: """
      sharedpack inspect model.spk
      sharedpack inspect library --json
      """)

  @Argument(help: "A model pack, a store's directory, or a segment's file.", completion: .file())
  var path: String

  @Flag(help: "List every tensor of a pack.")
  var tensors = false

  @Flag(help: "Print JSON for programs.")
  var json = false

  func run() throws {
    switch try Artifact(path) {
    case .pack:
      let pack = try ModelPack(opening: path)
      if json {
        Console.output(PackDescription.json(pack))
      } else {
        Console.output(PackDescription.text(pack, listingTensors: tensors))
      }
    case .segment:
      let segment = try Segment.inspect(path)
      if json { Console.output(segment.json) } else { Console.output(segment.text) }
    case .store:
      let store = try TreeStore(opening: path)
      if json {
        Console.output(StoreDescription.json(store))
      } else {
        Console.output(StoreDescription.text(store, store.statistics))
      }
    }
  }
}

struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Check every byte of a model pack or a tree store.",
    discussion: """
      sharedpack verify model.spk
      sharedpack verify library
      """)

  @Argument(help: "A model pack or a store's directory.", completion: .file())
  var path: String

  @OptionGroup var output: OutputOptions

  func run() throws {
    let bar = SharedProgress("Checking", mode: output.progress)
    let identity: String
    let byteCount: Int
    let kind: String
    switch try Artifact(path) {
    case .pack:
      let pack = try ModelPack(opening: path)
      try pack.verify { bar.update($0, of: pack.byteCount) }
      (identity, byteCount, kind) = (pack.identity.description, pack.byteCount, "model-pack")
    case .store:
      let store = try TreeStore(opening: path)
      try store.verify { bar.update($0, of: $1) }
      (identity, byteCount, kind) = ("generation \(store.generation)", store.statistics.totalByteCount, "tree-store")
    case .segment:
      throw Refusal(.unknownFile, file: path, "is one segment: verify the store that it belongs to")
    }
    bar.finish()
    if output.json {
      Console.output(
        .members([
          "path": .string(path), "kind": .string(kind), "bytes": .integer(byteCount), "identity": .string(identity),
          "ok": .boolean(true),
        ]))
    } else {
      Console.output("\(path): good, \(ProgressBar.bytes(Double(byteCount))), \(identity)")
    }
  }
}

/// A pack in words.
enum PackDescription {
  static func text(_ pack: ModelPack, listingTensors: Bool) -> String {
    let c = pack.configuration
    var lines = [
      "pack        \(pack.path), \(ProgressBar.bytes(Double(pack.byteCount)))",
      "identity    \(pack.identity)",
      "model       LLaMA, \(c.layerCount) layers, hidden \(c.hiddenSize), MLP \(c.intermediateSize), "
        + "\(c.headCount) heads of \(c.headDim), \(c.kvHeadCount) key-value heads",
      "vocabulary  \(c.vocabularySize), window \(c.maxPositionCount), rope theta \(c.ropeTheta), scaling "
        + "\(c.ropeScaling)",
      "weights     \(weights(pack))",
    ]
    if let shared = pack.sharedLLM {
      lines.append(
        "documents   chunks of \(shared.chunkSize) tokens, depth \(shared.treeDepth), leaf ratio \(shared.leafRatio), "
          + "\(shared.injectedLayerCount) injected layers (\(shared.place.rawValue)), positions \(shared.positionMode.rawValue), "
          + "\(shared.injection.rawValue)\(shared.injection == .mergedSoftmax ? " (untrained)" : ""), "
          + "lower model \(shared.lowerModel.rawValue)")
    } else {
      lines.append("documents   none: a plain model")
    }
    lines.append("tokenizer   \(pack.tokenizer.map { "\(ProgressBar.bytes(Double($0.count)))" } ?? "none")")
    lines.append("chat        \(pack.chatTemplate ?? "none")")
    lines.append("converter   \(pack.provenance.converter)")
    if let licence = pack.provenance.licence { lines.append("licence     \(licence)") }
    for source in pack.provenance.sources {
      lines.append(
        "source      \(source.name), \(ProgressBar.bytes(Double(source.byteCount))), SHA-256 \(source.digest)")
    }
    if listingTensors {
      for tensor in pack.tensors {
        lines.append(
          "\(tensor.name)\t\(tensor.encoding.name)\t\(tensor.rows) x \(tensor.columns)\t\(tensor.byteCount) bytes at "
            + "\(tensor.byteOffset)")
      }
    }
    return lines.joined(separator: "\n")
  }

  /// The encoding that the pack was converted to, and how many of its matrices are int8 all the same.
  private static func weights(_ pack: ModelPack) -> String {
    let weights = "\(pack.quantization.name), \(pack.tensors.count) tensors"
    guard case .int4 = pack.quantization else { return weights }
    return weights + ", \(pack.tensors.count { $0.encoding.name == "int8" }) of them int8"
  }

  static func json(_ pack: ModelPack) -> JSONValue {
    .members([
      "path": .string(pack.path),
      "bytes": .integer(pack.byteCount),
      "identity": .string(pack.identity.description),
      "metadata": pack.metadata,
      "injection": pack.sharedLLM.map {
        .string($0.injection == .mergedSoftmax ? "merged-softmax (untrained)" : "cross-attention")
      },
      "chat_template": pack.chatTemplate.map(JSONValue.string),
      "tokenizer_bytes": pack.tokenizer.map { .integer($0.count) },
      "tensors": .array(
        pack.tensors.map {
          .members([
            "name": .string($0.name), "encoding": .string($0.encoding.name), "rows": .integer($0.rows),
            "columns": .integer($0.columns), "byte_offset": .integer($0.byteOffset),
            "byte_count": .integer($0.byteCount), "sha256": .string($0.digest.description),
          ])
        }),
    ])
  }
}
