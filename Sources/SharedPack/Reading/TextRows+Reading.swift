public import FileAccess
package import LlamaRuntime
package import NodeBlocks
package import TreeStore

extension LanguageModel {
  /// The configuration of a store of texts that this model can read.
  package func storeConfiguration(_ form: TextForm) -> TreeStoreConfiguration {
    TreeStoreConfiguration(modelIdentity: pack.identity, text: form, rowNumerics: runtime.textRowNumerics)
  }

  /// How texts are kept that are read exactly: as they would stand in the model's cache.
  package func exactTextForm(frame: ReadingFrame) -> TextForm {
    TextForm(
      manner: .exact, chunkSize: TextForm.chunkSizes.upperBound, layout: runtime.textRowLayout, frame: frame)
  }

  /// How texts are kept that are read deeply.
  /// - Throws: `Refusal` `unsupported-encoding` when this model's heads have no such rows.
  package func textForm(_ reading: DeepReading, frame: ReadingFrame) throws(Refusal) -> TextForm {
    let own = runtime.textRowLayout
    guard let layout = own.encoded(as: reading.encoding ?? own.standardEncoding) else {
      throw Refusal(
        .unsupportedEncoding, file: pack.path,
        "int4 rows have at most \(RowEncoding.int4HeadDimLimit) numbers; this model's have \(own.headDim)")
    }
    return TextForm(
      manner: .deep, chunkSize: textChunkSize(reading), layout: layout, frame: frame,
      shares: reading.shares)
  }

  /// - Throws: `Refusal` `no-injection` for a model whose rotary positions depend on the length of the text.
  func requireFixedPositions() throws(Refusal) {
    if case .dynamic = configuration.ropeScaling {
      throw Refusal(
        .noInjection, file: pack.path,
        "its rotary positions depend on the length of the text, so that nothing can be read before")
    }
  }

  /// The rows of a beginning of a prompt.
  /// - Throws: `Refusal` `not-finite`, `no-injection` as `requireFixedPositions()`.
  package func prefix(reading tokens: [Int32]) throws(Refusal) -> TextPrefix {
    try requireFixedPositions()
    var prefix = TextPrefix(layout: runtime.textRowLayout)
    for range in tokens.indices.cut(into: 1024) {
      prefix.append(try rows(of: Array(tokens[range]), behind: prefix), readAt: range.lowerBound)
    }
    return prefix
  }

  /// The rows of a frame as they are kept.
  package func keptOpening(_ form: TextForm) throws(Refusal) -> TextRows {
    try keptOpening(rows(of: form.frame.opening, behind: TextPrefix(layout: runtime.textRowLayout)), form)
  }

  /// - Parameter rows: of the frame, as precise as the model's own.
  func keptOpening(_ rows: TextRows, _ form: TextForm) throws(Refusal) -> TextRows {
    try finite(rows.layout == form.frameLayout ? rows : rows.compressed(as: form.frameLayout.encoding))
  }

  /// The rows of a chunk as they are kept: those that its text is not repeated from go first.
  /// - Parameter opening: the frame's rows, as precise as the model's own.
  func keptRows(of tokens: [Int32], behind opening: TextPrefix, _ form: TextForm) throws(Refusal) -> TextRows {
    let rows = try rows(of: tokens, behind: opening)
    guard form.shares != nil || rows.layout != form.layout else { return rows }
    let kept =
      try form.shares == nil
      ? nil
      : runtime.keptRows(
        of: rows, tokens: tokens, behind: opening, instruction: repeating(),
        rowCounts: form.rows(tokens: tokens.count, isFrame: false).counts)
    try pack.requireWhole()
    return try finite(rows.compressed(as: form.layout.encoding, keeping: kept))
  }

  /// Which part of its rows each head should keep, so that a share of all stays: measured on chunks of some texts, up to
  /// 16 of them, which takes as long as reading them twice.
  /// - Parameters:
  ///   - share: of all rows, 0 to 1.
  ///   - texts: tokens of texts like those that will be read; not all empty.
  ///   - reading: how they are cut.
  ///   - frame: what they are read behind.
  /// - Throws: `Refusal` `not-finite`, `cancelled`, `no-injection` for a model whose rotary positions depend on the length
  ///   of the text.
  public func headShares(
    keeping share: Double, of texts: [[Int32]], reading: DeepReading, frame: ReadingFrame
  ) throws(Refusal) -> HeadShares {
    let opening = try prefix(reading: frame.opening)
    let chunks = texts.flatMap { text in textChunks(of: text, reading: reading).map { Array(text[$0]) } }
    let count = min(chunks.count, 16)
    var rowCounts: [[Int]] = []
    var tokenCounts: [Int] = []
    for number in 0..<count {
      try Refusal.checkCancellation(pack.path)
      let tokens = chunks[number * chunks.count / count]
      rowCounts.append(
        runtime.neededRows(
          of: try rows(of: tokens, behind: opening), tokens: tokens, behind: opening, instruction: try repeating(),
          count: max(1, Int((share * Double(tokens.count)).rounded()))))
      tokenCounts.append(tokens.count)
    }
    return HeadShares(averaging: rowCounts, tokenCounts: tokenCounts)
  }

  /// What asks for a text to be repeated.
  private func repeating() throws(Refusal) -> [Int32] {
    try requireTokenizer().encodeContinuation("\n\nRepeat the text exactly:\n\n")
  }

  private func finite(_ rows: TextRows?) throws(Refusal) -> TextRows {
    guard let rows else {
      throw Refusal(.notFinite, file: pack.path, structure: "keys and values", "they overflow")
    }
    return rows
  }

  /// The rows of some tokens, at most 1,024, read behind others.
  package func rows(of tokens: [Int32], behind prefix: TextPrefix) throws(Refusal) -> TextRows {
    let session = Session(runtime, behind: prefix, capacity: tokens.count)
    session.skim(tokens)
    return try session.rows(0..<tokens.count)
  }
}

extension Refusal.Name {
  /// A model's rows cannot be kept in an encoding.
  public static let unsupportedEncoding = Refusal.Name("unsupported-encoding", .badInput)
}

extension TextRowLayout {
  /// How rows of a model are kept where nothing else is said: int8 loses half of its bytes, which answers do not show;
  /// floats are a wish for precision.
  var standardEncoding: RowEncoding { encoding == .int8 && encoded(as: .int4) != nil ? .int4 : encoding }
}

extension Range<Int> {
  /// Ranges of a size, and the rest.
  func cut(into size: Int) -> [Range<Int>] {
    stride(from: lowerBound, to: upperBound, by: size).map { $0..<Swift.min($0 + size, upperBound) }
  }
}
