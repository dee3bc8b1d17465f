import CanonicalJSON
import ContextTrees
import FileAccess
import Glibc
import LlamaRuntime
import NodeBlocks
import SeededRandom
public import SharedPack
import TreeStore

/// How much the ways in which a plain model reads a text help it with what comes next.
///
/// An excerpt's last tokens are scored, behind what each manner keeps of those before them; all manners see the same
/// excerpts behind the same frame.
public struct ReadingPerplexity: Sendable {
  /// What stands before the last tokens.
  public enum Manner: String, Sendable, CaseIterable {
    /// The frame.
    case alone
    /// Frame and text, in the prompt.
    case whole
    /// Frame and text, stored by exact reading.
    case exact
    /// Frame and the stored chunks that share rare words with the end of the text before.
    case deep
  }

  public var manners = Manner.allCases
  /// Tokens of an excerpt and the frame.
  public var lengths = [8192]
  /// The last tokens of an excerpt; all but the first are scored.
  public var scored = 1024
  /// The tokens before those, whose words are searched.
  public static let queryLength = 256
  public var documentCount = 100
  public var reading = DeepReading()
  public var seed: UInt64 = 1

  public init() {}

  /// - Parameters:
  ///   - sources: texts; each gives excerpts at random places, in turn.
  ///   - progress: called with excerpts done, of how many.
  /// - Throws: `Refusal` `no-tokenizer`, `empty-document` when no text is long enough, `not-finite`, and those of
  ///   reading.
  public func run(
    _ model: LanguageModel, texts sources: [EvaluationSource], progress: (_ done: Int, _ of: Int) -> Void
  ) throws(Refusal) -> EvaluationResult {
    let start = ContinuousClock.now
    let frame = try model.readingFrame()
    let opening = try model.prefix(reading: frame.opening)
    var texts: [[Int32]] = []
    for text in sources.flatMap(\.texts) { texts.append(try model.documentTokens(text, file: "text")) }
    let bootstrap = Bootstrap(seed: seed)
    var rows: [EvaluationResult.Row] = []
    var done = 0
    for length in lengths {
      let tokenCount = length - frame.opening.count
      let long = texts.filter { $0.count >= tokenCount }
      guard !long.isEmpty, tokenCount >= scored + Self.queryLength else {
        throw Refusal(.emptyDocument, file: model.pack.path, structure: "\(length) tokens", "no text is long enough")
      }
      var random = SplitMix64(seed: seed, name: "reading/\(length)")
      // What does not fit the window has no whole prompt.
      let manners = manners.filter { length <= model.window || $0 == .alone || $0 == .deep }
      var scores = [[Double]](repeating: [], count: manners.count)
      var equal: [Double] = []
      for number in 0..<documentCount {
        let text = long[number % long.count]
        let first = random.next(below: text.count - tokenCount + 1)
        let excerpt = Array(text[first..<first + tokenCount])
        var whole: [Float]?
        for (index, manner) in manners.enumerated() {
          let logits = try logits(model, excerpt, manner, frame, opening)
          switch manner {
          case .whole: whole = logits
          case .exact: if let whole { equal.append(whole == logits ? 1 : 0) }
          default: break
          }
          scores[index].append(
            try LogProbabilities.meanLoss(of: excerpt.suffix(scored).dropFirst(), in: logits, model))
        }
        done += 1
        progress(done, lengths.count * documentCount)
      }
      let alone = manners.firstIndex(of: .alone)
      let gain = zip(manners, scores).first { $0.0 == .whole }
        .flatMap { whole in alone.map { mean(scores[$0]) - mean(whole.1) } }
      for (index, manner) in manners.enumerated() {
        var measures = ["perplexity": bootstrap.mean(of: scores[index]).mapped(exp)]
        if let alone, manner != .alone {
          measures["to_alone"] = bootstrap.difference(scores[index], scores[alone]).mapped(exp)
          if let gain, gain > 0 {
            measures["gain_kept"] = Measure((mean(scores[alone]) - mean(scores[index])) / gain)
          }
        }
        if manner == .exact, !equal.isEmpty { measures["equal"] = .proportion(of: equal) }
        rows.append(
          EvaluationResult.Row(
            labels: ["tokens": Label(length), "manner": .text(manner.rawValue)], measures: measures))
      }
    }
    return EvaluationResult(
      protocolName: "reading", model: EvaluationResult.Model(model),
      settings: [
        JSONValue.Member("scored", .integer(scored)), JSONValue.Member("documents", .integer(documentCount)),
        JSONValue.Member("chunk", .integer(reading.chunkSize)),
        JSONValue.Member("chunks", .integer(reading.chunkCount)), JSONValue.Member("seed", .integer(Int(seed))),
        JSONValue.Member("texts", .array(sources.map { .string($0.domain) })),
      ],
      columns: ["tokens", "manner", "perplexity", "to_alone", "gain_kept", "equal"], rows: rows,
      notes: [
        "perplexity of the last \(scored) tokens of an excerpt, all but the first",
        "to alone: times that of these tokens behind the frame alone, paired",
        "gain kept: the part of the whole prompt's gain over alone, in bits",
        "equal: the share of excerpts whose logits are those of the whole prompt, bit for bit",
      ], seconds: (ContinuousClock.now - start).seconds)
  }

  private func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }

  /// - Returns: logits behind each of the last tokens: (scored, vocabulary).
  private func logits(
    _ model: LanguageModel, _ excerpt: [Int32], _ manner: Manner, _ frame: ReadingFrame, _ opening: TextPrefix
  ) throws(Refusal) -> [Float] {
    let context = Array(excerpt.dropLast(scored))
    let running = Array(excerpt.suffix(scored))
    switch manner {
    case .alone: return try read(model, running, behind: opening)
    case .deep:
      let document = try model.textDocument(context, named: "excerpt", reading: reading)
      let query = try model.text(of: context.suffix(Self.queryLength))
      let passages = try model.passages(of: [document], for: query, reading: reading)
      guard case .text(let prefix) = try model.read(passages, of: [document], behind: frame).rows else {
        preconditionFailure("texts have rows of texts")
      }
      return try read(model, running, behind: prefix)
    case .exact:
      let text = frame.opening + context
      let whole = text.count / TextRowLayout.rowsTogether * TextRowLayout.rowsTogether
      let rest = text[whole...]
      let logits = try read(model, rest + running, behind: try model.prefix(reading: Array(text[..<whole])))
      return Array(logits.dropFirst(rest.count * model.configuration.vocabularySize))
    case .whole:
      let text = frame.opening + context
      let session = Session(model.runtime, capacity: text.count + running.count)
      session.skim(text)
      let logits = session.readAll(running)
      try session.requireWhole()
      return logits
    }
  }

  private func read(
    _ model: LanguageModel, _ tokens: [Int32], behind prefix: TextPrefix
  ) throws(Refusal) -> [Float] {
    let session = Session(model.runtime, behind: prefix, capacity: tokens.count)
    let logits = session.readAll(tokens)
    try session.requireWhole()
    return logits
  }
}
