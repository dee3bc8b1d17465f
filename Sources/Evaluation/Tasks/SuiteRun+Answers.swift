import ContextTrees
import EvaluationTasks
import FileAccess
import LlamaRuntime
import ModelPacks
import SharedPack

extension SuiteRun {
  /// One method's answer to one sample.
  struct Answer {
    var method: ContextMethod
    var text: String
    var promptTokens: Int
    /// Chunks of the context; 0 for a prompt that fits the window.
    var contextChunks: Int
    /// Tokens that the window left for the answer, where that is fewer than the task allows.
    var limit: Int?
  }

  /// Greedy answers to a sample's prompt.
  ///
  /// With trees a prompt is divided as `PromptDivision` says and searched with its whole running text; the truncated
  /// method reads both ends of the prompt, as much as the window holds; the streaming one reads it whole.
  /// - Throws: `Refusal` `no-tokenizer`, `no-injection`, `prompt-too-long` when the window does not hold a chunk and
  ///   the beginning of an answer, and those of asking.
  func answers(_ model: LanguageModel, _ sample: SuiteSample) async throws -> [Answer] {
    let isChat = usesChatTemplate && sample.usesChatTemplate && model.chatTemplate != nil
    var prompt = try isChat ? model.chatPrompt([.user(sample.prompt)]) : model.textPrompt(sample.prompt)
    let start = try model.textStart()
    if prompt.starts(with: start) { prompt.removeFirst(start.count) }
    if let promptLimit { prompt = PromptDivision.middleTruncated(prompt, to: promptLimit) }
    let window = model.runtime.window
    let chunkSize = model.runtime.treeShape?.chunkSize
    // The same for all methods: the window holds a chunk of running text and the answer, or half of it is for the answer.
    let usesTrees = methods.contains { $0.policyName != nil }
    let maxTokens = min(sample.maxNewTokens, window - start.count - (usesTrees ? chunkSize ?? 0 : window / 2))
    guard maxTokens > 0 else {
      throw Refusal(
        .promptTooLong, file: model.pack.path,
        "the window of \(window) tokens does not hold a chunk of \(chunkSize ?? 0) and an answer")
    }
    let room = window - maxTokens - start.count
    var answers: [Answer] = []
    var document: ContextDocument?
    for method in methods {
      var input = start + PromptDivision.middleTruncated(prompt, to: room)
      var selection: ContextSelection?
      var sinks: Int?
      switch method {
      case .truncated: break
      case .oracle: preconditionFailure("where a suite's answers stand is not known")
      case .streaming(let count):
        input = start + prompt
        sinks = count
      case .shared(let search):
        let (shape, _) = try model.requireTrees(encoding)
        guard let division = PromptDivision(tokenCount: prompt.count, chunkSize: shape.chunkSize, room: room),
          !division.context.isEmpty
        else { break }
        input = start + prompt[division.runningText]
        let read =
          try document
          ?? model.encode(Array(prompt[division.context]), named: "context", encoding: encoding)
        document = read
        selection = try model.select(from: [read], search: search, query: input)
      }
      let answer = try await model.greedyAnswer(
        input, context: selection, maxTokens: maxTokens, stopStrings: sample.stopStrings, sinks: sinks)
      answers.append(
        Answer(
          method: method, text: answer.text, promptTokens: prompt.count, contextChunks: selection?.nodes.count ?? 0,
          limit: maxTokens < sample.maxNewTokens ? maxTokens : nil))
    }
    return answers
  }
}
