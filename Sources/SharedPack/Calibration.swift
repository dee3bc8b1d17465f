import ContextTrees
public import FileAccess
import LlamaRuntime
import ModelPacks

/// What weights are rounded for: the inputs of a model's matrices while it reads a text.
enum Calibration {
  /// The most tokens of a text that are read; more would change little.
  static let tokenLimit = 16_384
  /// The fewest tokens; a shorter text would say more about itself than about the model.
  static let leastTokenCount = 512
}

extension LanguageModel {
  /// Reads parts of a text, from its beginning to its end, as the model is used, and collects the second moments of the
  /// inputs of its matrices. A model with trained cross-attention reads every other part beside trees of the text
  /// before it.
  ///
  /// - Parameters:
  ///   - tokens: of the text, without begin of text.
  ///   - blockColumns: `ErrorFeedback.blockColumns(groupSize:)`.
  ///   - file: the text's name for messages.
  ///   - progress: called with the tokens read and those that will be.
  /// - Throws: `Refusal` `text-too-short`, `cancelled`, or `not-finite` when the weights make keys or values overflow.
  func secondMoments(
    reading tokens: [Int32], blockColumns: Int, file: String,
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(Refusal) -> SecondMoments {
    guard tokens.count >= Calibration.leastTokenCount else {
      throw Refusal(
        .textTooShort, file: file,
        "has \(tokens.count) tokens; calibration needs at least \(Calibration.leastTokenCount), ideally a book")
    }
    let moments = SecondMoments(runtime, blockColumns: blockColumns)
    let readsTrees = runtime.sharedLLM?.injection == .crossAttention
    let chunkSize = readsTrees ? runtime.sharedLLM?.chunkSize ?? 0 : 0
    let length = min(min(runtime.window, 1024), tokens.count / (readsTrees ? 2 : 1))
    // The tokens in the trees before a part: a few chunks, or all that the text leaves.
    let contextLength = readsTrees ? min(4 * chunkSize, tokens.count - length) : 0
    let count = max(min(Calibration.tokenLimit, tokens.count - contextLength) / length, readsTrees ? 2 : 1)
    let total = count * length + (count / 2) * contextLength
    var done = 0
    for part in 0..<count {
      try Refusal.checkCancellation(file)
      let lastStart = tokens.count - contextLength - length
      let start = contextLength + (count > 1 ? lastStart * part / (count - 1) : 0)
      var context: InjectedContext?
      if readsTrees, part % 2 == 1 {
        let document = try encode(
          Array(tokens[start - contextLength..<start]), named: file, borders: .fixed, moments: moments
        ) { encoded, _ in progress(done + encoded, total) }
        context = try select(from: [document], search: TreeSearch(.right), query: []).context
        done += contextLength
      }
      var text = Array(tokens[start..<start + length])
      if let begin = configuration.beginOfTextToken { text[0] = begin }
      let session = Session(
        runtime, capacity: length, context: context, moments: moments)
      _ = session.read(text)
      try session.requireWhole()
      done += length
      progress(done, total)
    }
    return moments
  }
}

extension Refusal.Name {
  /// A text has too few tokens to round weights for.
  public static let textTooShort = Refusal.Name("text-too-short", .badInput)
}
