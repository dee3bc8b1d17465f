public import ContextTrees
public import FileAccess
public import NodeBlocks

/// What decides the meaning of every byte of a store, chosen once for all its chunks.
/// Format: `Formats/tree-store.md`, configuration.
public struct TreeStoreConfiguration: Sendable, Hashable {
  /// The SHA-256 of the model pack that encoded the chunks.
  public let modelIdentity: Digest256
  public let shape: TreeShape
  package let layout: NodeBlockLayout
  /// Floats of a node's embedding: the model's hidden size.
  public let embeddingSize: Int
  /// Whatever else determines the rows, such as the position mode and the arithmetic of the kernels. Printable ASCII.
  public let rowNumerics: String

  /// How keys and values are kept.
  public var rowEncoding: RowEncoding { layout.encoding }

  static let embeddingSizes = 1...1 << 20
  static let rowNumericsLimit = 256

  /// - Precondition: `embeddingSize` is 1 … 2^20; `rowNumerics` has at most 256 bytes of printable ASCII.
  package init(
    modelIdentity: Digest256, shape: TreeShape, layout: NodeBlockLayout, embeddingSize: Int, rowNumerics: String
  ) {
    precondition(Self.embeddingSizes.contains(embeddingSize), "an embedding has 1 to 2^20 numbers")
    precondition(Self.isPrintable(Array(rowNumerics.utf8)), "row numerics are short and printable")
    self.modelIdentity = modelIdentity
    self.shape = shape
    self.layout = layout
    self.embeddingSize = embeddingSize
    self.rowNumerics = rowNumerics
  }

  private static func isPrintable(_ bytes: [UInt8]) -> Bool {
    bytes.count <= rowNumericsLimit && bytes.allSatisfy { (0x20..<0x7F).contains($0) }
  }

  /// The configuration's own bytes: in manifests, in segments and hashed into every chunk key.
  var encoded: [UInt8] {
    var writer = ByteWriter()
    writer.append(modelIdentity.bytes)
    let numbers = [
      shape.chunkSize, shape.depth, shape.leafRatio, layout.layerCount, layout.kvHeadCount, layout.headDim,
      Int(layout.encoding.rawValue), embeddingSize, rowNumerics.utf8.count,
    ]
    for number in numbers { writer.integer(UInt32(number)) }
    writer.append(rowNumerics.utf8)
    return writer.bytes
  }

  /// - Throws: `Refusal` `malformed-configuration` or `truncated`.
  @_lifetime(reader: copy reader)
  init(from reader: inout ByteReader, file: String) throws(Refusal) {
    func malformed(_ fault: String) -> Refusal {
      Refusal(.malformedConfiguration, file: file, structure: "configuration", fault)
    }
    guard let identity = Digest256(bytes: try reader.bytes(32)) else { throw malformed("has no model identity") }
    var numbers: [Int] = []
    for _ in 0..<9 { numbers.append(Int(try reader.integer(UInt32.self))) }
    guard let shape = TreeShape(chunkSize: numbers[0], depth: numbers[1], leafRatio: numbers[2]) else {
      throw malformed("no tree has chunk size \(numbers[0]), depth \(numbers[1]) and leaf ratio \(numbers[2])")
    }
    guard let encoding = UInt8(exactly: numbers[6]).flatMap(RowEncoding.init) else {
      throw malformed("row encoding \(numbers[6]) is not known")
    }
    guard
      let layout = NodeBlockLayout(
        layerCount: numbers[3], kvHeadCount: numbers[4], headDim: numbers[5], encoding: encoding)
    else {
      throw malformed("no node block has \(numbers[3]) layers, \(numbers[4]) heads and head dim \(numbers[5])")
    }
    guard Self.embeddingSizes.contains(numbers[7]) else { throw malformed("embedding size \(numbers[7])") }
    guard numbers[8] <= Self.rowNumericsLimit else { throw malformed("row numerics of \(numbers[8]) bytes") }
    let numerics = try reader.bytes(numbers[8])
    guard Self.isPrintable(numerics) else { throw malformed("row numerics are not printable ASCII") }
    self.init(
      modelIdentity: identity, shape: shape, layout: layout, embeddingSize: numbers[7],
      rowNumerics: String(decoding: numerics, as: UTF8.self))
  }

  /// - Throws: `Refusal` `model-mismatch` or `configuration-mismatch` when this configuration, of a store or a document, is
  ///   not the one that is needed.
  package func require(_ needed: TreeStoreConfiguration, file: String) throws(Refusal) {
    guard self != needed else { return }
    guard modelIdentity == needed.modelIdentity else {
      throw Refusal(
        .modelMismatch, file: file,
        "belongs to model \(modelIdentity.description.prefix(12)), not to \(needed.modelIdentity.description.prefix(12))"
      )
    }
    let differences = zip(fields, needed.fields).filter { $0.value != $1.value }
      .map { "\($0.name) is \($0.value), not \($1.value)" }
    throw Refusal(.configurationMismatch, file: file, differences.joined(separator: "; "))
  }

  /// The fields in order, human-readable.
  var fields: [(name: String, value: String)] {
    [
      ("chunk size", "\(shape.chunkSize)"), ("tree depth", "\(shape.depth)"), ("leaf ratio", "\(shape.leafRatio)"),
      ("layers", "\(layout.layerCount)"), ("kv heads", "\(layout.kvHeadCount)"), ("head dim", "\(layout.headDim)"),
      ("row encoding", "\(layout.encoding)"), ("embedding size", "\(embeddingSize)"),
      ("row numerics", "\"\(rowNumerics)\""),
    ]
  }

  /// The key of a chunk: equal for equal tokens under equal configurations, wherever they stand.
  /// Format: `Formats/tree-store.md`, chunk keys.
  package func chunkKey(tokens: [Int32]) -> ChunkKey {
    var writer = ByteWriter()
    writer.append("sharedpack chunk\n".utf8)
    writer.integer(UInt32(StoreFormat.majorVersion))
    writer.append(encoded)
    writer.integer(UInt32(tokens.count))
    var hasher = Hasher256()
    hasher.update(writer.bytes)
    unsafe hasher.update(tokens.span.bytes)
    return ChunkKey(hasher.finalize())
  }
}
