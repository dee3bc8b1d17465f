package import ContextTrees
public import FileAccess
package import NodeBlocks

/// What decides the meaning of every byte of a store, chosen once for all its chunks.
/// Format: `Formats/tree-store.md`, configuration.
public struct TreeStoreConfiguration: Sendable, Hashable {
  /// The SHA-256 of the model pack that encoded the chunks.
  public let modelIdentity: Digest256
  /// What is kept of the chunks.
  public let form: ChunkForm
  /// Whatever else determines the rows, such as the position mode and the arithmetic of the kernels. Printable ASCII.
  public let rowNumerics: String

  static let embeddingSizes = 1...1 << 20
  static let rowNumericsLimit = 256

  /// - Precondition: `rowNumerics` has at most 256 bytes of printable ASCII.
  private init(modelIdentity: Digest256, form: ChunkForm, rowNumerics: String) {
    precondition(Self.isPrintable(Array(rowNumerics.utf8)), "row numerics are short and printable")
    self.modelIdentity = modelIdentity
    self.form = form
    self.rowNumerics = rowNumerics
  }

  /// The configuration of a store of context trees.
  /// - Precondition: `embeddingSize` is 1 … 2^20; `rowNumerics` has at most 256 bytes of printable ASCII.
  package init(
    modelIdentity: Digest256, shape: TreeShape, layout: NodeBlockLayout, embeddingSize: Int, rowNumerics: String
  ) {
    precondition(Self.embeddingSizes.contains(embeddingSize), "an embedding has 1 to 2^20 numbers")
    let form = TreeForm(shape: shape, layout: layout, embeddingSize: embeddingSize)
    self.init(modelIdentity: modelIdentity, form: .tree(form), rowNumerics: rowNumerics)
  }

  /// The configuration of a store of texts.
  /// - Precondition: `rowNumerics` has at most 256 bytes of printable ASCII.
  package init(modelIdentity: Digest256, text form: TextForm, rowNumerics: String) {
    self.init(modelIdentity: modelIdentity, form: .text(form), rowNumerics: rowNumerics)
  }

  private static func isPrintable(_ bytes: [UInt8]) -> Bool {
    bytes.count <= rowNumericsLimit && bytes.allSatisfy { (0x20..<0x7F).contains($0) }
  }

  /// The features that a reader of these chunks must know.
  var features: UInt64 { text == nil ? 0 : StoreFormat.textFeature }

  /// The configuration's own bytes: in manifests, in segments and hashed into every chunk key.
  var encoded: [UInt8] {
    var writer = ByteWriter()
    writer.append(modelIdentity.bytes)
    let numbers =
      switch form {
      case .tree(let form):
        [
          form.shape.chunkSize, form.shape.depth, form.shape.leafRatio, form.layout.layerCount,
          form.layout.kvHeadCount, form.layout.headDim, Int(form.layout.encoding.rawValue), form.embeddingSize,
          rowNumerics.utf8.count,
        ]
      case .text(let form):
        [
          form.chunkSize, Int(form.manner.rawValue), form.shares?.shares.count ?? 0, form.layout.layerCount,
          form.layout.kvHeadCount,
          form.layout.headDim, Int(form.layout.encoding.rawValue), form.frame.opening.count, rowNumerics.utf8.count,
          form.frame.beforeQuestion.utf8.count, form.frame.afterQuestion.utf8.count,
        ]
      }
    for number in numbers { writer.integer(UInt32(number)) }
    writer.append(rowNumerics.utf8)
    if let text {
      for token in text.frame.opening { writer.integer(token) }
      writer.append(text.frame.beforeQuestion.utf8)
      writer.append(text.frame.afterQuestion.utf8)
      writer.append(text.shares?.shares ?? [])
    }
    return writer.bytes
  }

  /// - Parameter features: those of the preamble.
  /// - Throws: `Refusal` `malformed-configuration` or `truncated`.
  @_lifetime(reader: copy reader)
  init(from reader: inout ByteReader, features: UInt64, file: String) throws(Refusal) {
    func malformed(_ fault: String) -> Refusal {
      Refusal(.malformedConfiguration, file: file, structure: "configuration", fault)
    }
    guard let identity = Digest256(bytes: try reader.bytes(32)) else { throw malformed("has no model identity") }
    let isText = features & StoreFormat.textFeature != 0
    var numbers: [Int] = []
    for _ in 0..<(isText ? 11 : 9) { numbers.append(Int(try reader.integer(UInt32.self))) }
    guard let encoding = UInt8(exactly: numbers[6]).flatMap(RowEncoding.init) else {
      throw malformed("row encoding \(numbers[6]) is not known")
    }
    guard numbers[8] <= Self.rowNumericsLimit else { throw malformed("row numerics of \(numbers[8]) bytes") }
    let numericsBytes = try reader.bytes(numbers[8])
    guard Self.isPrintable(numericsBytes) else { throw malformed("row numerics are not printable ASCII") }
    let numerics = String(decoding: numericsBytes, as: UTF8.self)
    guard isText else {
      guard let shape = TreeShape(chunkSize: numbers[0], depth: numbers[1], leafRatio: numbers[2]) else {
        throw malformed("no tree has chunk size \(numbers[0]), depth \(numbers[1]) and leaf ratio \(numbers[2])")
      }
      guard
        let layout = NodeBlockLayout(
          layerCount: numbers[3], kvHeadCount: numbers[4], headDim: numbers[5], encoding: encoding)
      else {
        throw malformed("no node block has \(numbers[3]) layers, \(numbers[4]) heads and head dim \(numbers[5])")
      }
      guard Self.embeddingSizes.contains(numbers[7]) else { throw malformed("embedding size \(numbers[7])") }
      self.init(
        modelIdentity: identity, shape: shape, layout: layout, embeddingSize: numbers[7], rowNumerics: numerics)
      return
    }
    guard let manner = UInt32(exactly: numbers[1]).flatMap(ReadingManner.init),
      manner == .deep || numbers[2] == 0 && encoding != .int4, TextForm.chunkSizes.contains(numbers[0])
    else {
      throw malformed(
        "no text is read in manner \(numbers[1]) in chunks of \(numbers[0]) with \(numbers[2]) shares of rows")
    }
    guard
      let layout = TextRowLayout(
        layerCount: numbers[3], kvHeadCount: numbers[4], headDim: numbers[5], encoding: encoding)
    else { throw malformed("no text has rows of \(numbers[3]) layers, \(numbers[4]) heads, head dim \(numbers[5])") }
    guard ReadingFrame.openingTokenCounts.contains(numbers[7]),
      max(numbers[9], numbers[10]) <= ReadingFrame.textByteLimit
    else { throw malformed("a frame of \(numbers[7]) tokens, \(numbers[9]) and \(numbers[10]) bytes") }
    var opening: [Int32] = []
    for _ in 0..<numbers[7] { opening.append(try reader.integer(Int32.self)) }
    guard let before = String(validating: try reader.bytes(numbers[9]), as: UTF8.self),
      let after = String(validating: try reader.bytes(numbers[10]), as: UTF8.self),
      let frame = ReadingFrame(opening: opening, beforeQuestion: before, afterQuestion: after)
    else { throw malformed("the frame's text is not UTF-8") }
    var shares: HeadShares?
    if numbers[2] > 0 {
      shares = HeadShares(try reader.bytes(numbers[2]))
      guard let shares, shares.shares.count == layout.layerCount * layout.kvHeadCount else {
        throw malformed("the shares of rows are not 1 to 64 for each head")
      }
    }
    self.init(
      modelIdentity: identity,
      text: TextForm(manner: manner, chunkSize: numbers[0], layout: layout, frame: frame, shares: shares),
      rowNumerics: numerics)
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
    let (own, others) = (fields, needed.fields)
    guard own.map(\.name) == others.map(\.name) else {
      throw Refusal(.configurationMismatch, file: file, "\(contents); \(needed.contents) needed")
    }
    let differences = zip(own, others).filter { $0.value != $1.value }
      .map { "\($0.name) is \($0.value), not \($1.value)" }
    throw Refusal(.configurationMismatch, file: file, differences.joined(separator: "; "))
  }

  private var contents: String {
    switch form {
    case .tree: "holds context trees"
    case .text(let form): "holds texts for \(form.manner) reading"
    }
  }

  /// The fields in order, human-readable.
  package var fields: [(name: String, value: String)] {
    let numerics = (name: "row numerics", value: "\"\(rowNumerics)\"")
    switch form {
    case .tree(let form):
      return [
        ("chunk size", "\(form.shape.chunkSize)"), ("tree depth", "\(form.shape.depth)"),
        ("leaf ratio", "\(form.shape.leafRatio)"), ("layers", "\(form.layout.layerCount)"),
        ("kv heads", "\(form.layout.kvHeadCount)"), ("head dim", "\(form.layout.headDim)"),
        ("row encoding", "\(form.layout.encoding)"), ("embedding size", "\(form.embeddingSize)"), numerics,
      ]
    case .text(let form):
      return [
        ("reading", "\(form.manner)"), ("chunk size", "\(form.chunkSize)"), ("layers", "\(form.layout.layerCount)"),
        ("kv heads", "\(form.layout.kvHeadCount)"), ("head dim", "\(form.layout.headDim)"),
        ("row encoding", "\(form.layout.encoding)"), ("rows kept", form.keptText),
        ("frame", "\(form.frame.opening.count) tokens, \(frameDigest.description.prefix(12))"), numerics,
      ]
    }
  }

  private var frameDigest: Digest256 {
    guard let text else { preconditionFailure("only texts have a frame") }
    var writer = ByteWriter()
    for token in text.frame.opening { writer.integer(token) }
    for part in [text.frame.beforeQuestion, text.frame.afterQuestion] {
      writer.integer(UInt32(part.utf8.count))
      writer.append(part.utf8)
    }
    return Digest256(of: writer.bytes)
  }

  /// The key of a chunk: equal for equal tokens under equal configurations, wherever they stand, unless they were read
  /// behind others.
  /// Format: `Formats/tree-store.md`, chunk keys.
  /// - Parameter behind: of a text's chunk, the one that was in view while it was read; nil for none.
  package func chunkKey(tokens: [Int32], behind: ChunkKey? = nil) -> ChunkKey {
    var writer = ByteWriter()
    writer.append((text == nil ? "sharedpack chunk\n" : "sharedpack text\n").utf8)
    writer.integer(UInt32(StoreFormat.majorVersion))
    writer.append(encoded)
    if text != nil { writer.append(behind?.digest.bytes ?? [UInt8](repeating: 0, count: 32)) }
    writer.integer(UInt32(tokens.count))
    var hasher = Hasher256()
    hasher.update(writer.bytes)
    unsafe hasher.update(tokens.span.bytes)
    return ChunkKey(hasher.finalize())
  }
}
