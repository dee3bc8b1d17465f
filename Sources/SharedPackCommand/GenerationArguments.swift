import ArgumentParser
import CanonicalJSON
import FileAccess
import LlamaRuntime
import SharedPack

/// The options of commands that write an answer.
struct GenerationArguments: ParsableArguments {
  @Option(help: ArgumentHelp("The largest number of tokens to write.", valueName: "count"))
  var maxTokens = 256

  @Option(help: ArgumentHelp("0 takes the most likely token; higher values choose more freely.", valueName: "number"))
  var temperature: Float = 0

  @Option(help: ArgumentHelp("Choose among the k most likely tokens only.", valueName: "k"))
  var topK: Int?

  @Option(
    help: ArgumentHelp("Choose among the most likely tokens that together have this probability.", valueName: "p"))
  var topP: Float = 1

  @Option(help: ArgumentHelp("Choose among tokens at least this likely, relative to the most likely.", valueName: "p"))
  var minP: Float = 0

  @Option(help: ArgumentHelp("Make tokens that have occurred less likely; 1 does nothing.", valueName: "factor"))
  var repetitionPenalty: Float = 1

  @Option(help: ArgumentHelp("The same seed gives the same answer.", valueName: "number"))
  var seed: UInt64 = 0

  @Option(
    name: .customLong("stop"), help: ArgumentHelp("End the answer before this text. Repeatable.", valueName: "text"))
  var stopStrings: [String] = []

  @Flag(help: "Continue when the model ends its text.")
  var ignoreEnd = false

  @OptionGroup var cache: CachePolicyArguments

  @Option(
    help: ArgumentHelp("Number of threads, 1 to 1024; answers do not depend on it.", valueName: "count"))
  var threads: ThreadCountArgument?

  func validate() throws {
    guard maxTokens > 0 else { throw ValidationError("--max-tokens must be at least 1.") }
    guard temperature >= 0, temperature.isFinite else { throw ValidationError("--temperature must be 0 or more.") }
    guard topK.map({ $0 > 0 }) ?? true else { throw ValidationError("--top-k must be at least 1.") }
    guard topP > 0, topP <= 1 else { throw ValidationError("--top-p must be above 0 and at most 1.") }
    guard minP >= 0, minP <= 1 else { throw ValidationError("--min-p must be between 0 and 1.") }
    guard repetitionPenalty > 0, repetitionPenalty.isFinite else {
      throw ValidationError("--repetition-penalty must be above 0.")
    }
  }

  /// The options for a model.
  func options(for model: LanguageModel) throws -> GenerationOptions {
    GenerationOptions(
      maxTokens: maxTokens,
      sampling: SamplingOptions(
        temperature: temperature, topK: topK, topP: topP, minP: minP, repetitionPenalty: repetitionPenalty, seed: seed),
      stopStrings: stopStrings, ignoresEndOfText: ignoreEnd, cachePolicy: try cache.policy(for: model),
      rowEncoding: cache.rowEncoding)
  }
}

/// Shows an answer while it is generated.
enum ResponsePrinter {
  static func print(
    _ stream: ResponseStream, output: OutputOptions, echo: String = "", isInjected: Bool = false,
    facts: [JSONValue.Member] = []
  ) async throws {
    var bar = ProgressBar("Reading", unit: .tokens, mode: output.progress)
    var text = ""
    // After the bar, which would erase it on a terminal.
    var echo = output.json ? "" : echo
    for try await event in stream {
      switch event {
      case .promptProgress(let done, let total):
        bar.update(done, of: total)
        if done == total { bar.finish() }
      case .text(let piece):
        text += piece
        if !output.json { Console.output(echo + piece, terminator: "") }
        echo = ""
      case .finished(let summary):
        if output.json {
          Console.output(.object(facts + [JSONValue.Member("text", .string(text))] + members(summary, isInjected)))
        } else {
          Console.output(echo)
          Console.error(line(summary, isInjected))
        }
      }
    }
  }

  /// - Parameter isInjected: whether what was prepared is injected into some layers, and not a text that stands before
  ///   the prompt.
  private static func line(_ summary: ResponseSummary, _ isInjected: Bool) -> String {
    let decodeSeconds = summary.secondsInAll - summary.secondsToFirstToken
    var line = "[\(Format.count(summary.promptTokens, "token")) read"
    if summary.contextChunks > 0 {
      line +=
        ", \(Format.count(summary.contextRows, "row")) of \(Format.count(summary.contextChunks, "chunk")) "
        + (isInjected ? "injected" : "in view")
      if summary.injectionIsUntrained { line += " (untrained)" }
    }
    line += ", first token after \(Format.latency(summary.secondsToFirstToken)), \(summary.tokens.count) written"
    if summary.tokens.count > 1, decodeSeconds > 0 {
      line += " at \(Format.rounded(Double(summary.tokens.count - 1) / decodeSeconds))/s"
    }
    return line + ", ended by \(summary.finishReason.rawValue)]"
  }

  private static func members(_ summary: ResponseSummary, _ isInjected: Bool) -> [JSONValue.Member] {
    let json = JSONValue.members([
      "tokens": .array(summary.tokens.map { .integer(Int($0)) }),
      "prompt_tokens": .integer(summary.promptTokens),
      "finish_reason": .string(summary.finishReason.rawValue),
      "context_chunks": .integer(summary.contextChunks),
      "context_rows": .integer(summary.contextRows),
      "injection": !isInjected
        ? nil : .string(summary.injectionIsUntrained ? "merged-softmax (untrained)" : "cross-attention"),
      "seconds_to_first_token": .number(summary.secondsToFirstToken),
      "seconds": .number(summary.secondsInAll),
    ])
    return json.object ?? []
  }
}

/// A text from the command line, where `-` is standard input.
enum TextArgument {
  static func text(_ argument: String) throws(Refusal) -> String {
    guard argument == "-" else { return argument }
    var text = try Console.input(limit: DocumentSource.byteLimit)
    if text.hasSuffix("\n") { text.removeLast() }
    return text
  }
}
