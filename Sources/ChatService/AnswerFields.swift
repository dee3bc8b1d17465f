import CanonicalJSON
import LlamaRuntime
import SharedPack

/// The fields that chats and completions have in common.
struct AnswerFields: Sendable {
  var model: String?
  var options: GenerationOptions
  var isStreamed: Bool
  /// Whether a stream ends with what it took.
  var includesUsage: Bool
  /// How many of the most likely tokens are told of each; nil for no probabilities.
  var logProbabilities: Int?
  var documents: [String]

  /// - Parameter limit: tokens of an answer where a request says nothing of it.
  init(_ fields: RequestFields, limit: Int) throws(RequestFault) {
    model = try fields.string("model", atMost: 2048)
    isStreamed = try fields.boolean("stream") ?? false
    includesUsage = false
    if let options = fields["stream_options"] {
      includesUsage = try RequestFields(options, at: "stream_options").boolean("include_usage") ?? false
    }
    documents = try fields.strings("documents", atMost: 256, byteLimit: 1024) ?? []
    guard Set(documents).count == documents.count else { throw .invalid("documents", "names a document twice") }

    try fields.refuse("n", unless: { $0.integer == 1 }, "is 1 here: ask again for another answer")
    try fields.refuse("best_of", unless: { $0.integer == 1 }, "is 1 here")
    try fields.refuse("echo", unless: { $0.boolean == false }, "is false here")
    try fields.refuse("suffix", unless: { $0.string == "" }, "is not supported")
    for penalty in ["frequency_penalty", "presence_penalty"] {
      try fields.refuse(penalty, unless: { $0.number == 0 }, "is 0 here; there is 'repetition_penalty'")
    }
    try fields.refuse("logit_bias", unless: { $0.object?.isEmpty == true }, "is not supported")
    for tools in ["tools", "functions"] {
      try fields.refuse(tools, unless: { $0.array?.isEmpty == true }, "are not supported")
    }
    try fields.refuse("response_format", unless: { $0["type"]?.string == "text" }, "is of type text here")
    try fields.refuse("modalities", unless: { $0.array == [.string("text")] }, "is [\"text\"] here")
    try fields.refuse("audio", unless: { _ in false }, "is not supported")

    let sampling = SamplingOptions(
      temperature: Float(try fields.number("temperature", in: 0...2) ?? 0),
      topK: try fields.integer("top_k", in: -1...Int(Int32.max)).flatMap { $0 > 0 ? $0 : nil },
      topP: Float(max(try fields.number("top_p", in: 0...1) ?? 1, 1e-6)),
      minP: Float(try fields.number("min_p", in: 0...1) ?? 0),
      repetitionPenalty: Float(try fields.number("repetition_penalty", in: 0.01...100) ?? 1),
      seed: UInt64(bitPattern: Int64(try fields.integer("seed", in: Int.min...Int.max) ?? Int.random(in: 0...Int.max))))
    let stops = try fields.strings("stop", atMost: 16, byteLimit: 256) ?? []
    let limits = [
      try fields.integer("max_completion_tokens", in: 1...Int.max), try fields.integer("max_tokens", in: 1...Int.max),
    ]
    options = GenerationOptions(
      maxTokens: min(limits.compactMap { $0 }.first ?? limit, 1 << 20), sampling: sampling,
      stopStrings: stops.filter { !$0.isEmpty }, ignoresEndOfText: try fields.boolean("ignore_eos") ?? false)
    logProbabilities = nil
  }
}
