extension ChatTemplate {
  /// The names of the templates that come with this library, for checkpoints that have none.
  public static var builtInNames: [String] { BuiltIn.allCases.map(\.rawValue) }

  /// A template that comes with this library.
  /// - Parameters:
  ///   - name: one of `builtInNames`.
  ///   - specialTokens: those that the checkpoint names; `bos_token` and `eos_token` are the tokenizer's otherwise.
  /// - Returns: nil for another name.
  public init?(named name: String, specialTokens: [String: [String]], tokenizer: Tokenizer) {
    guard let builtIn = BuiltIn(rawValue: name) else { return nil }
    self.init(source: builtIn.source, specialTokens: specialTokens.merging(tokenizer.usualTokens) { given, _ in given })
  }

  /// Refuses a built-in template for a vocabulary that lacks what it writes, whose spellings would become plain text.
  /// - Throws: `TokenizerError` `tokenizer-missing-piece`.
  public static func require(named name: String, of tokenizer: Tokenizer) throws(TokenizerError) {
    guard let builtIn = BuiltIn(rawValue: name) else { return }
    let structure = "chat template \(name)"
    for spelling in builtIn.spellings where tokenizer.token(named: spelling) == nil {
      throw TokenizerError(.missingPiece, structure, "the vocabulary has no token \(spelling)")
    }
    for name in builtIn.variables where tokenizer.usualTokens[name] == nil {
      throw TokenizerError(.missingPiece, structure, "no token of the vocabulary begins or ends a text")
    }
  }
}

extension Tokenizer {
  /// The spellings of the tokens that begin and end a text, under the names that templates give them.
  fileprivate var usualTokens: [String: [String]] {
    func spelling(_ token: Int32?) -> [String]? {
      token.flatMap(piece).map { [String(decoding: $0, as: UTF8.self)] }
    }
    var tokens: [String: [String]] = [:]
    tokens["bos_token"] = spelling(beginOfTextToken)
    tokens["eos_token"] = spelling(endOfTextTokens.first)
    return tokens
  }
}

/// Templates whose form is published, in our own words.
private enum BuiltIn: String, CaseIterable {
  /// Source: Touvron et al. 2023, Llama 2, and its published code: each user message with its answer is a text of its
  /// own, between begin and end of text; white space around messages is dropped.
  case llama2 = "llama-2"
  /// Source: the published model card of Meta Llama 3, prompt format.
  case llama3 = "llama-3"
  /// Source: OpenAI's description of ChatML, as SmolLM2, Qwen and Hermes use it.
  case chatML = "chatml"
  /// Source: the model cards of Zephyr and TinyLlama-Chat.
  case zephyr

  /// Spellings that are single tokens of the vocabulary.
  var spellings: [String] {
    switch self {
    case .llama2, .zephyr: []
    case .llama3: ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    case .chatML: ["<|im_start|>", "<|im_end|>"]
    }
  }

  /// Names of tokens that the program writes.
  var variables: [String] {
    switch self {
    case .llama2: ["bos_token", "eos_token"]
    case .zephyr: ["eos_token"]
    case .llama3, .chatML: []
    }
  }

  var source: String {
    switch self {
    case .llama2:
      """
      {%- set state = namespace(system='', question='', answered=true) -%}
      {%- for message in messages -%}
        {%- if message.role == 'system' and loop.first -%}
          {%- set state.system = '<<SYS>>\\n' ~ message.content ~ '\\n<</SYS>>\\n\\n' -%}
        {%- elif message.role == 'user' and state.answered -%}
          {{- bos_token ~ '[INST] ' ~ (state.system ~ message.content) | trim ~ ' [/INST]' -}}
          {%- set state.system = '' -%}
          {%- set state.answered = false -%}
        {%- elif message.role == 'assistant' and not state.answered -%}
          {{- ' ' ~ message.content | trim ~ ' ' ~ eos_token -}}
          {%- set state.answered = true -%}
        {%- else -%}
          {{- raise_exception('user and assistant do not take turns after one system message') -}}
        {%- endif -%}
      {%- endfor -%}
      {%- if state.answered and messages[-1].role == 'system' -%}
        {{- raise_exception('there is no message of the user') -}}
      {%- endif -%}
      """
    case .llama3:
      """
      {{- '<|begin_of_text|>' -}}
      {%- for message in messages -%}
        {{- '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>\\n\\n' -}}
        {{- message.content | trim ~ '<|eot_id|>' -}}
      {%- endfor -%}
      {%- if add_generation_prompt -%}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
      {%- endif -%}
      """
    case .chatML:
      """
      {%- for message in messages -%}
        {{- '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' -}}
      {%- endfor -%}
      {%- if add_generation_prompt -%}
        {{- '<|im_start|>assistant\\n' -}}
      {%- endif -%}
      """
    case .zephyr:
      """
      {%- for message in messages -%}
        {{- '<|' ~ message.role ~ '|>\\n' ~ message.content ~ eos_token ~ '\\n' -}}
      {%- endfor -%}
      {%- if add_generation_prompt -%}
        {{- '<|assistant|>\\n' -}}
      {%- endif -%}
      """
    }
  }
}
