import Templates
import Testing

@testable import Tokenization

@Suite struct ChatTemplateTests {
  private let llama2 = Result { try Tokenizer(sentencePiece: TinyTokenizers.llama2) }
  private let llama3 = Result { try Tokenizer(tiktoken: TinyTokenizers.llama3) }

  private func template(_ name: String, _ tokenizer: Tokenizer) throws -> ChatTemplate {
    try #require(ChatTemplate(named: name, specialTokens: [:], tokenizer: tokenizer))
  }

  @Test func llama2MessagesAreTextsOfTheirOwn() throws {
    let tokenizer = try llama2.get()
    let template = try template("llama-2", tokenizer)
    let messages = [
      ChatMessage(role: .system, content: "be </s>"), ChatMessage(role: .user, content: " hello\n"),
      ChatMessage(role: .assistant, content: " world "), ChatMessage(role: .user, content: "hello"),
    ]
    let tokens = try template.render(messages, with: tokenizer)
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
        try template.render(wrong, with: tokenizer)
      } throws: { ($0 as? TokenizerError)?.name == "chat-messages-invalid" }
    }
  }

  @Test func llama3MessagesHaveHeaders() throws {
    let tokenizer = try llama3.get()
    let template = try template("llama-3", tokenizer)
    let messages = [
      ChatMessage(role: .system, content: "hello <|eot_id|>"), ChatMessage(role: .user, content: "\u{1C} hello\n"),
    ]
    let tokens = try template.render(messages, with: tokenizer)
    #expect(
      tokenizer.decode(tokens, includingSpecialTokens: true)
        == "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nhello <|eot_id|><|eot_id|>"
        + "<|start_header_id|>user<|end_header_id|>\n\nhello<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    #expect(tokens.filter { $0 == 277 }.count == 2)
    #expect(try template.render(messages, with: tokenizer, addingGenerationPrompt: false).last == 277)
  }

  /// Spellings that the vocabulary lacks would become text, which no model has seen.
  @Test func builtInTemplatesNeedTheirTokens() throws {
    let (llama2, llama3) = (try llama2.get(), try llama3.get())
    try ChatTemplate.require(named: "llama-2", of: llama2)
    try ChatTemplate.require(named: "llama-3", of: llama3)
    #expect {
      try ChatTemplate.require(named: "llama-3", of: llama2)
    } throws: { ($0 as? TokenizerError)?.name == "tokenizer-missing-piece" }
    #expect {
      try ChatTemplate.require(named: "chatml", of: llama3)
    } throws: { "\($0)".contains("<|im_start|>") }
    #expect(ChatTemplate.builtInNames == ["llama-2", "llama-3", "chatml", "zephyr"])
    #expect(ChatTemplate(named: "llama-4", specialTokens: [:], tokenizer: llama3) == nil)
  }

  @Test(arguments: [
    ("chatml", "<|im_start|>user\n hi <|im_end|>\n<|im_start|>assistant\n"),
    ("zephyr", "<|user|>\n hi </s>\n<|assistant|>\n"),
  ])
  func otherBuiltInTemplates(name: String, text: String) throws {
    let rendered = try template(name, try llama2.get()).text([ChatMessage(role: .user, content: " hi ")])
    #expect(rendered.text == text)
    #expect(rendered.markedRanges.map { String(decoding: Array(rendered.text.utf8)[$0], as: UTF8.self) } == [" hi "])
  }

  /// A checkpoint's own program, with the names of its tokens and the date.
  @Test func programsAreGivenTokensAndTheDate() throws {
    let source = """
      {{ bos_token }}{{ additional_special_tokens | join(',') }} {{ strftime_now('%d %b %Y') }}\
      {% if tools is not none %}tools{% endif %}{{ unk_token }}{{ messages[0].content }}
      """
    let template = ChatTemplate(
      source: source, specialTokens: ["bos_token": ["<s>"], "additional_special_tokens": ["a", "b"]])
    let now = TemplateDate(year: 2026, month: 11, day: 8, hour: 1, minute: 2, second: 3)
    let messages = [ChatMessage(role: .user, content: "<s>")]
    let rendered = try template.text(messages, now: now)
    #expect(rendered.text == "<s>a,b 08 Nov 2026<s>")
    let tokenizer = try llama2.get()
    #expect(try template.render(messages, with: tokenizer, now: now).count { $0 == 1 } == 1)
  }

  @Test func packsKeepTemplates() throws {
    let tokenizer = try llama2.get()
    let template = ChatTemplate(source: "{{ \"é\" }}", specialTokens: ["bos_token": ["<s>"]])
    #expect(template.serialized == #"{"source":"{{ \"é\" }}","special_tokens":{"bos_token":["<s>"]}}"#)
    #expect(try ChatTemplate(serialized: template.serialized, tokenizer: tokenizer) == template)
    #expect(try ChatTemplate(serialized: "llama-2", tokenizer: tokenizer) == self.template("llama-2", tokenizer))
    for text in ["", "llama-4", "{}", "{{ messages }}", #"{"source":1,"special_tokens":{}}"#] {
      #expect {
        try ChatTemplate(serialized: text, tokenizer: tokenizer)
      } throws: { ($0 as? TokenizerError)?.name == "chat-template-unknown" }
    }
  }

  @Test func programsThatFailSayWhereAndWhy() throws {
    let messages = [ChatMessage(role: .user, content: "x")]
    func error(_ source: String) -> TokenizerError? {
      do throws(TokenizerError) {
        _ = try ChatTemplate(source: source, specialTokens: [:]).text(messages)
        return nil
      } catch {
        return error
      }
    }
    let syntax = error("a\n{% if %}")
    #expect(syntax?.name == "chat-template-failed" && syntax?.structure == "chat template, line 2")
    let raised = error("{{ raise_exception('no system messages') }}")
    #expect(raised?.name == "chat-messages-invalid" && raised?.fault == "no system messages")
  }
}
