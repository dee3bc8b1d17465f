public import CanonicalJSON
public import FileAccess

/// A pack's description of itself.
/// Format: `Formats/model-pack.md` §Metadata.
public struct PackMetadata: Sendable, Hashable {
  public var configuration: LlamaConfiguration
  /// nil: a plain LLaMA that reads no context trees.
  public var sharedLLM: SharedLLMConfiguration?
  /// The encoding that matrices were converted to.
  public var quantization: TensorEncoding
  public var provenance: PackProvenance
  /// nil: not measured.
  public var reading: PackReading?

  public init(
    configuration: LlamaConfiguration, sharedLLM: SharedLLMConfiguration?, quantization: TensorEncoding,
    provenance: PackProvenance, reading: PackReading? = nil
  ) {
    self.configuration = configuration
    self.sharedLLM = sharedLLM
    self.quantization = quantization
    self.provenance = provenance
    self.reading = reading
  }
}

/// Where the weights come from.
public struct PackProvenance: Sendable, Hashable {
  /// A file that was read.
  public struct Source: Sendable, Hashable {
    /// Without directory.
    public var name: String
    public var byteCount: Int
    public var digest: Digest256

    public init(name: String, byteCount: Int, digest: Digest256) {
      self.name = name
      self.byteCount = byteCount
      self.digest = digest
    }
  }

  /// Name and version of the program that wrote the pack.
  public var converter: String
  public var licence: String?
  public var sources: [Source]

  public init(converter: String, licence: String?, sources: [Source]) {
    self.converter = converter
    self.licence = licence
    self.sources = sources
  }
}

extension PackMetadata {
  public static let architecture = "llama"

  public var json: JSONValue {
    .members([
      "architecture": .string(Self.architecture),
      "configuration": configuration.json,
      "provenance": provenance.json,
      "quantization": quantization.json,
      "reading": reading?.json,
      "sharedLLM": sharedLLM?.json,
    ])
  }

  /// - Throws: `Refusal` `unsupported-architecture` or `invalid-metadata`.
  init(json: JSONValue, file: String) throws(Refusal) {
    let reader = MetadataReader(json: json, file: file, path: "metadata")
    let architecture = try reader.string("architecture")
    guard architecture == Self.architecture else {
      throw Refusal(
        .unsupportedArchitecture, file: file, structure: "metadata",
        "the architecture is \"\(architecture)\"; only \"\(Self.architecture)\" can be run")
    }
    configuration = try LlamaConfiguration(try reader.object("configuration"))
    sharedLLM = try reader.optionalObject("sharedLLM").map { reader throws(Refusal) in
      try SharedLLMConfiguration(reader)
    }
    quantization = try TensorEncoding(try reader.object("quantization"))
    provenance = try PackProvenance(try reader.object("provenance"))
    reading = try reader.optionalObject("reading").map { reader throws(Refusal) in try PackReading(reader) }
    if let fault = configuration.fault(sharedLLM: sharedLLM) {
      throw Refusal(.invalidMetadata, file: file, structure: "metadata", fault)
    }
  }
}

extension TensorEncoding {
  var json: JSONValue {
    .members(["encoding": .string(name), "groupSize": groupSize == 0 ? nil : .integer(groupSize)])
  }

  init(_ reader: MetadataReader) throws(Refusal) {
    switch try reader.string("encoding") {
    case "float32": self = .float32
    case "float16": self = .float16
    case let name where name == "int8" || name == "int4":
      let groupSize = try reader.integer("groupSize")
      self = name == "int8" ? .int8(groupSize: groupSize) : .int4(groupSize: groupSize)
      guard byteCount(rows: 1, columns: 1) != nil else { throw reader.fault("groupSize is \(groupSize)") }
    case let other: throw reader.fault("\"\(other)\" is not an encoding")
    }
  }
}

extension PackProvenance {
  var json: JSONValue {
    .members([
      "converter": .string(converter),
      "licence": licence.map { .string($0) },
      "sources": .array(
        sources.map {
          .members([
            "byteCount": .integer($0.byteCount), "name": .string($0.name), "sha256": .string($0.digest.description),
          ])
        }),
    ])
  }

  init(_ reader: MetadataReader) throws(Refusal) {
    converter = try reader.string("converter")
    licence = try reader.optionalString("licence")
    sources = []
    for source in try reader.objects("sources") {
      guard let digest = Digest256(hexadecimal: try source.string("sha256")) else {
        throw source.fault("sha256 is not 64 lower-case hexadecimal digits")
      }
      let byteCount = try source.integer("byteCount")
      guard byteCount >= 0 else { throw source.fault("byteCount is negative") }
      sources.append(Source(name: try source.string("name"), byteCount: byteCount, digest: digest))
    }
  }
}
