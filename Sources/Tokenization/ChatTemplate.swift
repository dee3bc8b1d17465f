import CanonicalJSON
public import Templates

/// One turn of a conversation.
public struct ChatMessage: Sendable, Hashable {
  public enum Role: String, Sendable, CaseIterable {
    case system, user, assistant
  }

  public var role: Role
  public var content: String

  public init(role: Role, content: String) {
    self.role = role
    self.content = content
  }
}

/// How the messages of a conversation become the tokens that a chat model was trained on: a program in Jinja, and the
/// special tokens that it names.
///
/// What a message says never becomes a special token: those are recognized only in what the program itself writes.
/// Format: `Formats/model-pack.md`, chat template.
public struct ChatTemplate: Sendable, Hashable {
  /// The program.
  public let source: String
  /// The spellings that the program knows by names such as `bos_token`; several for `additional_special_tokens`.
  public let specialTokens: [String: [String]]

  public init(source: String, specialTokens: [String: [String]]) {
    self.source = source
    self.specialTokens = specialTokens
  }

  /// Names of variables that hold a list of tokens, however many there are.
  private static let lists: Set<String> = ["additional_special_tokens", "extra_special_tokens"]

  /// The text of a conversation, and which parts of it messages wrote.
  /// - Parameters:
  ///   - addingGenerationPrompt: ends with what comes before the assistant's next message, if the program has that.
  ///   - now: the time for programs that write the date; without it they take one of their own.
  /// - Throws: `TokenizerError` `chat-messages-invalid` when the program refuses the messages, `chat-template-failed`
  ///   when it is not one that can be run.
  public func text(
    _ messages: [ChatMessage], addingGenerationPrompt: Bool = true, now: TemplateDate? = nil
  ) throws(TokenizerError) -> RenderedText {
    guard !messages.isEmpty else { throw TokenizerError(.badMessages, "messages", "there is none") }
    var variables: [String: TemplateValue] = [
      "messages": .array(
        messages.map { message in
          .object([
            ("role", .string(TemplateString(message.role.rawValue))),
            ("content", .string(TemplateString(message.content, isMarked: true))),
          ])
        }),
      "add_generation_prompt": .boolean(addingGenerationPrompt),
      // The names that transformers always gives.
      "tools": .none,
      "documents": .none,
    ]
    for (name, spellings) in specialTokens {
      let values = spellings.map { TemplateValue.string(TemplateString($0)) }
      if Self.lists.contains(name) {
        variables[name] = .array(values)
      } else if let value = values.first {
        variables[name] = value
      }
    }
    do throws(TemplateError) {
      return try Template(parsing: source).render(variables, now: now)
    } catch {
      let structure = error.line.map { "chat template, line \($0)" } ?? "chat template"
      throw TokenizerError(error.kind == .raised ? .badMessages : .templateFailed, structure, error.fault)
    }
  }

  /// The tokens of a conversation.
  /// - Parameters:
  ///   - addingGenerationPrompt: ends with what comes before the assistant's next message, if the program has that.
  ///   - now: the time for programs that write the date; without it they take one of their own.
  /// - Throws: `TokenizerError` as ``text(_:addingGenerationPrompt:now:)``.
  public func render(
    _ messages: [ChatMessage], with tokenizer: Tokenizer, addingGenerationPrompt: Bool = true,
    now: TemplateDate? = nil
  ) throws(TokenizerError) -> [Int32] {
    let rendered = try text(messages, addingGenerationPrompt: addingGenerationPrompt, now: now)
    return tokenizer.encode(rendered.text, withoutSpecialTokensIn: rendered.markedRanges)
  }
}

extension ChatTemplate {
  /// The longest program that is read from a file.
  public static let sourceByteCountLimit = 1 << 20

  /// The longest form that a pack keeps.
  package static let serializedByteCountLimit = 1 << 20

  /// The template as a pack keeps it.
  package var serialized: String {
    let tokens = specialTokens.sorted { $0.key < $1.key }.map { name, spellings in
      JSONValue.Member(name, .array(spellings.map { .string($0) }))
    }
    let json = JSONValue.members(["source": .string(source), "special_tokens": .object(tokens)])
    return String(decoding: json.canonical, as: UTF8.self)
  }

  /// Reads the form that a pack keeps: a JSON object or, in packs that older versions made, the name of a template.
  /// - Throws: `TokenizerError` `chat-template-unknown`.
  package init(serialized text: String, tokenizer: Tokenizer) throws(TokenizerError) {
    if let template = ChatTemplate(named: text, specialTokens: [:], tokenizer: tokenizer) {
      self = template
      return
    }
    guard let root = try? JSONValue(parsing: Array(text.utf8)), let source = root["source"]?.string,
      let members = root["special_tokens"]?.object
    else {
      throw TokenizerError(.unknownTemplate, "chat template", "this version cannot read its form")
    }
    var specialTokens: [String: [String]] = [:]
    for member in members { specialTokens[member.key] = (member.value.array ?? []).compactMap(\.string) }
    self.init(source: source, specialTokens: specialTokens)
  }
}
