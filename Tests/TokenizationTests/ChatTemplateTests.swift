import Testing
import Tokenization

@Suite struct ChatTemplateTests {
  static let llama2Template =
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    + "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    + "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    + "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    + "{{ raise_exception('Roles must alternate') }}{% endif %}"
    + "{% if loop.index0 == 0 and system_message != false %}"
    + #"{% set content = '<<SYS>>\n' + system_message + '\n<</SYS>>\n\n' + message['content'] %}"#
    + "{% else %}{% set content = message['content'] %}{% endif %}"
    + "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    + "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
  static let llama3Template =
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>'"
    + #" + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}"#
    + "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    + #"{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"#

  @Test func knownTemplatesAreRecognizedWhateverTheirSpacing() {
    func recognized(_ text: String) -> ChatTemplate? { try? ChatTemplate(recognizing: text) }
    #expect(recognized(Self.llama2Template) == .llama2)
    #expect(recognized(Self.llama3Template) == .llama3)
    let spaced = Self.llama3Template
      .replacing("'", with: "\"").replacing("message[\"role\"]", with: "message.role").replacing("}{", with: "}\n{")
    #expect(recognized(spaced) == nil)
    #expect(recognized(spaced.replacing("{%", with: "{%-").replacing("{{", with: "{{-")) == .llama3)
    #expect(recognized(Self.llama3Template + "\n") == .llama3)
  }

  /// A template that puts out anything else must not be taken for one that does not.
  @Test(arguments: [
    llama3Template + "x", "Today {{ date }}" + llama3Template, llama3Template + "{{ eos_token }}",
    llama3Template + "  ",
    llama3Template.replacing("| trim", with: ""), llama3Template.replacing("'<|eot_id|>'", with: "'<|eom_id|>'"),
    llama3Template.replacing("{{ content }}", with: "{{ content + 'x' }}"),
    llama3Template.replacing("{{ content }}", with: "{{ content }}{{ tools }}"),
    llama2Template.replacing("false", with: "'You are helpful.'"),
    llama2Template.replacing("{% endfor %}", with: "{{ eos_token }}{% endfor %}"), "", "{{", "{% '", "{#", "{{ ' }}",
    "{{-",
  ])
  func otherTemplatesAreNot(template: String) {
    #expect {
      try ChatTemplate(recognizing: template)
    } throws: { ($0 as? TokenizerError)?.name == "chat-template-unknown" }
  }

  @Test func namesRoundTrip() {
    #expect(ChatTemplate(rawValue: "llama-2") == .llama2)
    #expect(ChatTemplate(rawValue: "llama-3") == .llama3)
  }

  @Test func llama2() throws {
    let tokenizer = try Tokenizer(sentencePiece: TinyTokenizers.llama2)
    let messages = [
      ChatMessage(role: .system, content: "be </s>"), ChatMessage(role: .user, content: " hello\n"),
      ChatMessage(role: .assistant, content: " world "), ChatMessage(role: .user, content: "hello"),
    ]
    let tokens = try ChatTemplate.llama2.render(messages, with: tokenizer)
    #expect(
      tokenizer.decode(tokens, includingSpecialTokens: true)
        == "<s>[INST] <<SYS>>\nbe </s>\n<</SYS>>\n\n hello [/INST] world </s><s> [INST] hello [/INST]")
    // The spelling in the message is text: two begins, one end.
    #expect(tokens.filter { $0 == 1 }.count == 2)
    #expect(tokens.filter { $0 == 2 }.count == 1)
    for wrong in [
      [], Array(messages[..<1]), Array(messages[2...]), [messages[1], messages[1]], [messages[1], messages[0]],
    ] {
      #expect {
        try ChatTemplate.llama2.render(wrong, with: tokenizer)
      } throws: { ($0 as? TokenizerError)?.name == "chat-messages-invalid" }
    }
  }

  @Test func llama3() throws {
    let tokenizer = try Tokenizer(tiktoken: TinyTokenizers.llama3)
    let messages = [
      ChatMessage(role: .system, content: "hello <|eot_id|>"), ChatMessage(role: .user, content: "\u{1C} hello\n"),
    ]
    let tokens = try ChatTemplate.llama3.render(messages, with: tokenizer)
    #expect(
      tokenizer.decode(tokens, includingSpecialTokens: true)
        == "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nhello <|eot_id|><|eot_id|>"
        + "<|start_header_id|>user<|end_header_id|>\n\nhello<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    #expect(tokens.filter { $0 == 277 }.count == 2)
    #expect(try ChatTemplate.llama3.render(messages, with: tokenizer, addingGenerationPrompt: false).last == 277)
    #expect {
      try ChatTemplate.llama3.render(messages, with: try Tokenizer(sentencePiece: TinyTokenizers.llama2))
    } throws: { ($0 as? TokenizerError)?.name == "tokenizer-missing-piece" }
  }
}
