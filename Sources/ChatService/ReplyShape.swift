import CanonicalJSON
import Glibc
import SharedPack

/// An answer as a message of a chat or as the continuation of a text.
struct ReplyShape: AnswerShape {
  enum Kind: Sendable {
    case chat, completion
  }

  let kind: Kind
  let identifier: String
  let created = Int(time(nil))
  let model: String
  let fingerprint: String
  let includesUsage: Bool
  let hasProbabilities: Bool
  /// What only this server says: the sources of an answer.
  let extra: JSONValue?
  /// What has left the window; nil where nothing has.
  let overflow: JSONValue?
  /// Bytes of the answer so far, for the places of tokens in it.
  private var textOffset = 0

  init(
    _ kind: Kind, model: String, fingerprint: String, includesUsage: Bool, hasProbabilities: Bool, extra: JSONValue?,
    overflow: JSONValue? = nil
  ) {
    self.kind = kind
    self.model = model
    self.fingerprint = fingerprint
    self.includesUsage = includesUsage
    self.hasProbabilities = hasProbabilities
    self.extra = extra
    self.overflow = overflow
    identifier = (kind == .chat ? "chatcmpl-" : "cmpl-") + Self.digits()
  }

  /// What tells one answer from another.
  static func digits() -> String { (0..<24).map { _ in String(Int.random(in: 0..<16), radix: 16) }.joined() }

  // MARK: The parts of an answer

  /// What every object of an answer has.
  private func object(
    _ choices: [JSONValue], isPiece: Bool, usage: JSONValue?, extra: JSONValue? = nil
  ) -> JSONValue {
    let name =
      switch kind {
      case .chat: isPiece ? "chat.completion.chunk" : "chat.completion"
      case .completion: "text_completion"
      }
    return .members([
      "id": .string(identifier), "object": .string(name), "created": .integer(created), "model": .string(model),
      "system_fingerprint": .string(fingerprint), "choices": .array(choices), "usage": usage, "sharedpack": extra,
    ])
  }

  private func choice(_ content: JSONValue.Member, probabilities: JSONValue?, reason: String?) -> JSONValue {
    .object([
      JSONValue.Member("index", .integer(0)), content, JSONValue.Member("logprobs", probabilities ?? .null),
      JSONValue.Member("finish_reason", reason.map { .string($0) } ?? .null),
    ])
  }

  // MARK: Pieces

  func start() -> [AnswerEventText] {
    let content: JSONValue.Member =
      switch kind {
      case .chat:
        JSONValue.Member("delta", .members(["role": .string("assistant"), "content": .string("")]))
      case .completion: JSONValue.Member("text", .string(""))
      }
    let piece = object(
      [choice(content, probabilities: nil, reason: nil)], isPiece: true, usage: includesUsage ? .null : nil,
      extra: extra)
    return [AnswerEventText(json: piece)]
  }

  mutating func piece(_ text: String, _ tokens: [TokenChoice], _ tokenizer: Tokenizer?) -> AnswerEventText {
    let content: JSONValue.Member =
      kind == .chat
      ? JSONValue.Member("delta", .members(["content": .string(text)])) : JSONValue.Member("text", .string(text))
    let piece = object(
      [choice(content, probabilities: probabilities(tokens, tokenizer), reason: nil)], isPiece: true,
      usage: includesUsage ? .null : nil)
    return AnswerEventText(json: piece)
  }

  func end(_ summary: ResponseSummary) -> [AnswerEventText] {
    let content: JSONValue.Member =
      kind == .chat ? JSONValue.Member("delta", .object([])) : JSONValue.Member("text", .string(""))
    var pieces = [
      object(
        [choice(content, probabilities: nil, reason: Self.reason(summary))], isPiece: true,
        usage: includesUsage ? .null : nil)
    ]
    if includesUsage { pieces.append(object([], isPiece: true, usage: usage(summary))) }
    return pieces.map { AnswerEventText(json: $0) }
  }

  // MARK: All at once

  mutating func whole(
    _ text: String, _ tokens: [TokenChoice], _ summary: ResponseSummary, _ tokenizer: Tokenizer?
  ) -> JSONValue {
    let content: JSONValue.Member =
      switch kind {
      case .chat:
        JSONValue.Member(
          "message", .members(["role": .string("assistant"), "content": .string(text), "refusal": .null]))
      case .completion: JSONValue.Member("text", .string(text))
      }
    let choice = choice(
      content, probabilities: probabilities(tokens, tokenizer), reason: Self.reason(summary))
    return object([choice], isPiece: false, usage: usage(summary), extra: extra)
  }

  private static func reason(_ summary: ResponseSummary) -> String {
    isCut(summary) ? "length" : "stop"
  }

  /// Whether an answer has ended before its end.
  static func isCut(_ summary: ResponseSummary) -> Bool {
    switch summary.finishReason {
    case .endOfText, .stopString: false
    case .maxTokens, .window: true
    }
  }

  /// What an answer took.
  func usage(_ summary: ResponseSummary) -> JSONValue {
    .members([
      "prompt_tokens": .integer(summary.promptTokens), "completion_tokens": .integer(summary.tokens.count),
      "total_tokens": .integer(summary.promptTokens + summary.tokens.count),
      "prompt_tokens_details": .members(["cached_tokens": .integer(summary.cachedTokens)]),
      "sharedpack": overflow,
    ])
  }

  // MARK: Probabilities

  private mutating func probabilities(_ tokens: [TokenChoice], _ tokenizer: Tokenizer?) -> JSONValue? {
    guard hasProbabilities else { return nil }
    switch kind {
    case .chat:
      return .members([
        "content": .array(
          tokens.map { choice in
            let alternatives = choice.mostLikely.map { alternative in
              JSONValue.object(Self.token(alternative.token, alternative.logProbability, tokenizer))
            }
            return .object(
              Self.token(choice.chosen.token, choice.chosen.logProbability, tokenizer)
                + [JSONValue.Member("top_logprobs", .array(alternatives))])
          }), "refusal": .null,
      ])
    case .completion:
      var offsets: [JSONValue] = []
      for choice in tokens {
        offsets.append(.integer(textOffset))
        textOffset += Self.bytes(choice.chosen.token, tokenizer).count
      }
      return .members([
        "tokens": .array(tokens.map { .string(Self.text($0.chosen.token, tokenizer)) }),
        "token_logprobs": .array(tokens.map { .number(Self.finite($0.chosen.logProbability)) }),
        "top_logprobs": .array(
          tokens.map { choice in
            // Two tokens may be written alike; an object has one of them, the more likely.
            var members: [JSONValue.Member] = []
            var seen: Set<[UInt8]> = []
            for alternative in choice.mostLikely {
              let text = Self.text(alternative.token, tokenizer)
              guard seen.insert(Array(text.utf8)).inserted else { continue }
              members.append(JSONValue.Member(text, .number(Self.finite(alternative.logProbability))))
            }
            return .object(members)
          }),
        "text_offset": .array(offsets),
      ])
    }
  }

  private static func token(_ token: Int32, _ logProbability: Float, _ tokenizer: Tokenizer?) -> [JSONValue.Member] {
    [
      JSONValue.Member("token", .string(text(token, tokenizer))),
      JSONValue.Member("logprob", .number(finite(logProbability))),
      JSONValue.Member("bytes", .array(bytes(token, tokenizer).map { .integer(Int($0)) })),
    ]
  }

  /// JSON has no infinite numbers; this is what OpenAI says of what cannot be.
  private static func finite(_ logProbability: Float) -> Double {
    logProbability.isFinite ? Double(logProbability) : -9999
  }

  private static func bytes(_ token: Int32, _ tokenizer: Tokenizer?) -> [UInt8] {
    tokenizer?.decodeBytes(CollectionOfOne(token), includingSpecialTokens: true) ?? []
  }

  private static func text(_ token: Int32, _ tokenizer: Tokenizer?) -> String {
    String(decoding: bytes(token, tokenizer), as: UTF8.self)
  }
}
