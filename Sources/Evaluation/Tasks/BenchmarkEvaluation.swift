public import ContextTrees
public import EvaluationTasks
import FileAccess
import LlamaRuntime
import ModelPacks
public import SharedPack

/// How a model answers the prompts of a benchmark.
///
/// With trees a prompt is divided as `PromptDivision` says and searched with its whole running text; the truncated
/// method reads both ends of the prompt, as much as the window holds. Answers are greedy.
public struct BenchmarkEvaluation {
  public var methods: [ContextMethod] = [.shared(.cosine), .truncated]
  public var encoding = RowEncoding.int8
  /// Tokens of a prompt; of a longer one both ends are kept. Nil takes it whole.
  public var promptLimit: Int?
  /// Whether prompts go into the model's chat template, where the task says so and the model has one.
  public var usesChatTemplate = true

  public init() {}

  /// What one method made of one sample.
  public struct Answer: Sendable {
    public var method: ContextMethod
    public var prediction: String
    public var score: Double
    public var promptTokens: Int
    /// Chunks of the context; 0 for a prompt that fits the window.
    public var contextChunks: Int
    /// Tokens that the window left for the answer, where that is fewer than the task allows.
    public var answerLimit: Int?
  }

  /// - Throws: `Refusal` `no-tokenizer`, `no-injection`, `prompt-too-long` when the window does not hold a chunk and
  ///   the beginning of an answer, and those of asking.
  public func answers(_ model: LanguageModel, _ sample: BenchmarkSample) async throws -> [Answer] {
    let isChat = usesChatTemplate && sample.usesChatTemplate && model.chatTemplate != nil
    var prompt = try isChat ? model.chatPrompt(sample.prompt, system: nil) : model.textPrompt(sample.prompt)
    let start = try model.textStart()
    if prompt.starts(with: start) { prompt.removeFirst(start.count) }
    if let promptLimit { prompt = PromptDivision.middleTruncated(prompt, to: promptLimit) }
    var answers: [Answer] = []
    var document: ContextDocument?
    for method in methods {
      let maxTokens: Int
      let input: [Int32]
      var selection: ContextSelection?
      switch method {
      case .truncated:
        // At least half of the window is for the prompt.
        maxTokens = min(sample.maxNewTokens, model.runtime.window / 2)
        input = start + PromptDivision.middleTruncated(prompt, to: model.runtime.window - maxTokens - start.count)
      case .shared(let policy):
        let (shape, _) = try model.requireTrees(encoding)
        // At least a chunk and the begin-of-text token.
        maxTokens = min(sample.maxNewTokens, model.runtime.window - shape.chunkSize - start.count)
        guard maxTokens > 0,
          let division = PromptDivision(
            tokenCount: prompt.count, chunkSize: shape.chunkSize,
            room: model.runtime.window - maxTokens - start.count)
        else {
          throw Refusal(
            .promptTooLong, file: model.pack.path,
            "the window of \(model.runtime.window) tokens does not hold a chunk of \(shape.chunkSize) and an answer")
        }
        input = start + prompt[division.runningText]
        if !division.context.isEmpty {
          let read = try document
            ?? model.encode(name: "context", tokens: Array(prompt[division.context]), encoding: encoding)
          document = read
          selection = try model.select(from: [read], policy: policy, query: input)
        }
      }
      let answer = try await model.greedyAnswer(
        input, context: selection, maxTokens: maxTokens, stopStrings: sample.stopStrings)
      answers.append(
        Answer(
          method: method, prediction: answer.text, score: sample.score(answer.text), promptTokens: prompt.count,
          contextChunks: selection?.nodes.count ?? 0, answerLimit: maxTokens < sample.maxNewTokens ? maxTokens : nil))
    }
    return answers
  }
}
