import LlamaRuntime
import ModelPacks
import Tokenization

/// An answer while it is written: which tokens are chosen, what text they make, and where it ends.
struct AnswerWriter {
  private var sampler: Sampler
  private var text: TextWriter
  private let endTokens: Set<Int32>
  /// Tokens that there is room for.
  private let room: Int
  private let start = ContinuousClock.now
  private(set) var summary: ResponseSummary
  /// Tokens that the prompt and the answer may have together.
  let capacity: Int
  private(set) var hasEnded: Bool

  init(_ model: LanguageModel, _ prompt: [Int32], context: ContextSelection?, options: GenerationOptions) {
    room = model.room(behind: prompt, context, options)
    capacity = model.capacity(of: prompt, context, options)
    hasEnded = room == 0
    sampler = Sampler(options.sampling)
    sampler.see(prompt)
    text = TextWriter(
      decoder: model.tokenizer?.makeStreamDecoder(after: prompt), stopStrings: options.stopStrings)
    endTokens =
      options.ignoresEndOfText
      ? [] : Set(model.configuration.endOfTextTokens + (model.tokenizer?.endOfTextTokens ?? []))
    summary = ResponseSummary(
      promptTokens: prompt.count, cachedTokens: 0, tokens: [],
      finishReason: room < options.maxTokens ? .window : .maxTokens,
      contextChunks: context?.chunkCount ?? 0, contextRows: context?.rowCount ?? 0,
      injectionIsUntrained: context?.context != nil && model.injectionIsUntrained, secondsToFirstToken: 0,
      secondsInAll: 0)
  }

  /// The token to be read next; nil when the answer has ended or not begun.
  var next: Int32? { hasEnded ? nil : summary.tokens.last }

  /// Chooses a token.
  /// - Parameter logits: what the model expects after the last one.
  /// - Returns: text that can be shown.
  mutating func write(after logits: [Float]) -> String {
    precondition(!hasEnded, "the answer has ended")
    let token = sampler.choose(logits)
    if summary.tokens.isEmpty { summary.secondsToFirstToken = (ContinuousClock.now - start).seconds }
    summary.tokens.append(token)
    if endTokens.contains(token) {
      summary.finishReason = .endOfText
      hasEnded = true
      return ""
    }
    let shown = text.push(token)
    if text.hasStopped { summary.finishReason = .stopString }
    hasEnded = text.hasStopped || summary.tokens.count >= room
    return shown
  }

  /// The remaining text, and what the answer was made of.
  mutating func finish() -> (rest: String, summary: ResponseSummary) {
    hasEnded = true
    let rest = text.finish()
    summary.secondsInAll = (ContinuousClock.now - start).seconds
    return (rest, summary)
  }

  /// Notes tokens of the prompt that need not be read.
  mutating func skip(cachedTokens: Int) { summary.cachedTokens = cachedTokens }
}

extension LanguageModel {
  /// Tokens that an answer can have.
  fileprivate func room(behind prompt: [Int32], _ context: ContextSelection?, _ options: GenerationOptions) -> Int {
    let left = runtime.window - (context?.tokensBefore ?? 0) - prompt.count
    return max(options.cachePolicy.positionCount == nil ? min(options.maxTokens, left) : options.maxTokens, 0)
  }

  /// Tokens that a prompt and its answer may have together.
  func capacity(of prompt: [Int32], _ context: ContextSelection?, _ options: GenerationOptions) -> Int {
    // A stream may be asked to go on for ever.
    min(max(room(behind: prompt, context, options), 1), Int.max / 4) + prompt.count
  }
}
