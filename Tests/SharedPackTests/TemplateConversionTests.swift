import CanonicalJSON
import FileAccess
import SharedPack
import Testing

/// Where a pack's chat template comes from, and what is said when it does not work.
@Suite struct TemplateConversionTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// A checkpoint with a `tokenizer_config.json`.
  private func checkpoint(_ members: KeyValuePairs<String, JSONValue?>) throws -> String {
    let path = try TinyModel(injection: .none).checkpoint(in: scratch)
    try Scratch.write(JSONValue.members(members).canonical, path: "\(path)/tokenizer_config.json")
    return path
  }

  private func convert(
    _ checkpoint: String, _ choice: ModelConversion.ChatTemplateChoice = .fromCheckpoint
  ) throws(Refusal) -> (model: LanguageModel, notes: [String]) {
    var options = ModelConversion.Options()
    options.chatTemplate = choice
    let conversion = try ModelConversion(directory: checkpoint, options: options)
    _ = try conversion.run(output: "\(checkpoint)/model.spk")
    return (try LanguageModel(opening: "\(checkpoint)/model.spk"), conversion.plan.notes)
  }

  private func refusal(_ body: () throws(Refusal) -> Void) -> Refusal? {
    do {
      try body()
      return nil
    } catch {
      return error
    }
  }

  @Test func theCheckpointsOwnIsKept() throws {
    let program = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    let path = try checkpoint(["bos_token": .string("<s>"), "chat_template": .string(program)])
    let (model, notes) = try convert(path)
    #expect(notes.isEmpty && model.chatTemplate?.source == program)
    let prompt = try model.chatPrompt([.user("the <s>")])
    #expect(prompt.first == 1 && prompt.count { $0 == 1 } == 1)
    #expect(model.tokenizer?.decode(prompt) == "[user] the <s>\n")
  }

  @Test func oneOfSeveralIsChosenByName() throws {
    let path = try checkpoint([
      "chat_template": .array([
        .members(["name": .string("tools"), "template": .string("t")]),
        .members(["name": .string("default"), "template": .string("d")]),
      ])
    ])
    #expect(try convert(path).model.chatTemplate?.source == "d")
    #expect(try convert(path, .named("tools")).model.chatTemplate?.source == "t")
    #expect(try convert(path, .none).model.chatTemplate == nil)
    #expect(try convert(path, .program("p", file: "p.jinja")).model.chatTemplate?.source == "p")
    let unknown = refusal { () throws(Refusal) in _ = try convert(path, .named("rag")) }
    #expect(unknown?.parameter == "chatTemplate" && unknown?.name.exitStatus == .usage)
    #expect(unknown?.fault.contains("tools, default, llama-2") == true)
  }

  /// A warning when converting; the reason, when it is used.
  @Test func aTemplateThatFailsIsKeptWithANote() throws {
    let path = try checkpoint(["chat_template": .string("{% if %}")])
    let (model, notes) = try convert(path)
    #expect(notes.count == 1 && notes[0].contains("tokenizer_config.json") && notes[0].contains("line 1"))
    let found = refusal { () throws(Refusal) in _ = try model.chatPrompt([.user("the")]) }
    #expect(found?.name == .chatTemplateFailed && found?.structure == "chat template, line 1")
    let given = refusal { () throws(Refusal) in _ = try convert(path, .program("{% if %}", file: "mine.jinja")) }
    #expect(given?.name.text == "chat-template-failed" && given?.file == "mine.jinja")
  }

  /// Its spellings would become plain text.
  @Test func aBuiltInTemplateNeedsItsTokens() throws {
    let path = try TinyModel(injection: .none).checkpoint(in: scratch)
    let found = refusal { () throws(Refusal) in _ = try convert(path, .named("llama-3")) }
    #expect(found?.parameter == "chatTemplate" && found?.fault.contains("<|begin_of_text|>") == true)
    #expect(try convert(path, .named("llama-2")).model.chatTemplate != nil)
  }
}
