extension ChatTemplate {
  /// Recognizes the Jinja template of a model, from `tokenizer_config.json` or `chat_template.jinja`.
  ///
  /// A template is known when its tags, whatever their spacing and quotes, contain the expressions that put out the
  /// messages of LLaMA-2 or LLaMA-3 and nothing else that could put out text: no other literal, no other word, no text
  /// outside of tags. So a template with a default system message, a date or tools is not taken for one without.
  /// - Throws: `TokenizerError` `chat-template-unknown`.
  public init(recognizing template: String) throws(TokenizerError) {
    var lexer = JinjaLexer(template)
    if let tokens = lexer.tokens() {
      for candidate in Self.allCases where candidate.shape.matches(tokens) {
        self = candidate
        return
      }
    }
    let known = Self.allCases.map(\.rawValue).joined(separator: ", ")
    throw TokenizerError(.unknownTemplate, "chat template", "it is not one of those supported here: \(known)")
  }

  private var shape: TemplateShape {
    switch self {
    case .llama2:
      TemplateShape(
        required: [
          "bos_token + '[INST] ' + content | trim + ' [/INST]'", "' ' + content | trim + ' ' + eos_token",
          "'<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message.content",
        ],
        optional: ["'<<SYS>>\\n' + content | trim + '\\n<</SYS>>\\n\\n'"],
        literals: ["system", "user", "assistant"],
        words: [
          "if", "elif", "else", "endif", "for", "in", "endfor", "set", "and", "false", "messages", "loop_messages",
          "system_message", "message", "role", "content", "loop", "index0",
        ],
        others: ["(", ")", "[", "]", ":", ".", "=", "==", "!=", "%", "0", "1", "2"])
    case .llama3:
      TemplateShape(
        required: [
          "'<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>'",
          "'<|start_header_id|>assistant<|end_header_id|>\\n\\n'", "bos_token",
        ],
        optional: [], literals: [],
        words: [
          "if", "endif", "for", "in", "endfor", "set", "not", "is", "defined", "false", "messages", "loop_messages",
          "message", "content", "loop", "index0", "first", "add_generation_prompt",
        ],
        others: [".", "=", "==", "+", "0"])
    }
  }
}

/// The expressions that a template must contain, and the others that it may contain.
private struct TemplateShape {
  /// Expressions that stand in the template exactly once.
  let required: [String]
  let optional: [String]
  let literals: Set<String>
  let words: Set<String>
  let others: Set<String>

  func matches(_ template: [JinjaToken]) -> Bool {
    var rest = template
    for (index, expression) in (required + optional).enumerated() {
      var lexer = JinjaLexer("{{" + expression + "}}")
      let wanted = (lexer.tokens() ?? []).dropFirst().dropLast()
      let start = rest.indices.first { rest[$0...].starts(with: wanted) }
      if let start {
        rest.replaceSubrange(start..<start + wanted.count, with: [.expression])
      } else if index < required.count {
        return false
      }
    }
    // The message of an exception is never put out.
    while let start = rest.firstIndex(of: .word("raise_exception")) {
      guard rest.count > start + 3, rest[start + 1] == .other("("), case .literal = rest[start + 2],
        rest[start + 3] == .other(")")
      else { return false }
      rest.replaceSubrange(start...start + 3, with: [.expression])
    }
    return rest.allSatisfy { token in
      switch token {
      case .literal(let text): literals.contains(text)
      case .word(let text): words.contains(text)
      case .other(let text): others.contains(text)
      case .expression, .openOutput, .openBlock, .close: true
      }
    }
  }
}

private enum JinjaToken: Equatable {
  case openOutput, openBlock, close
  case literal(String)
  case word(String)
  case other(String)
  /// What has been recognized already.
  case expression
}

/// Splits a template into the tokens of its tags. `message['role']` is `message.role`, `.strip()` is `| trim`.
private struct JinjaLexer {
  private let text: [Character]
  private var offset = 0
  private var found: [JinjaToken] = []

  init(_ template: String) { text = Array(template) }

  /// Nil when the template is not understood, or puts out text between its tags.
  mutating func tokens() -> [JinjaToken]? {
    var stripsNext = true
    var followsBlock = false
    while offset < text.count {
      let start = offset
      while offset < text.count, !isTag(at: offset) { offset += 1 }
      let between = text[start..<offset]
      let isEnd = offset == text.count
      // One line break at the end of a template is dropped.
      let stripsBefore = isEnd ? between.count == 1 && between.first?.isNewline == true : next(2) == "-"
      // Templates are rendered with trim_blocks and lstrip_blocks: a line break after a block and the indentation of
      // a block are not put out.
      let isLayout =
        followsBlock && (isEnd || text[offset + 1] == "%") && between.first?.isNewline == true
        && between.dropFirst().allSatisfy { $0 == " " || $0 == "\t" }
      guard between.allSatisfy(\.isWhitespace), between.isEmpty || stripsNext || stripsBefore || isLayout else {
        return nil
      }
      guard !isEnd else { break }
      guard let closing = tag() else { return nil }
      (stripsNext, followsBlock) = closing
    }
    return found
  }

  private func next(_ distance: Int) -> Character? {
    offset + distance < text.count ? text[offset + distance] : nil
  }

  private func isTag(at index: Int) -> Bool {
    text[index] == "{" && index + 1 < text.count && ["{", "%", "#"].contains(text[index + 1])
  }

  /// Reads a tag. Returns whether it strips the white space after it and whether it is a block.
  private mutating func tag() -> (Bool, Bool)? {
    let kind = text[offset + 1]
    offset += 2
    if kind == "#" {
      while offset + 1 < text.count, !(text[offset] == "#" && text[offset + 1] == "}") { offset += 1 }
      guard offset + 1 < text.count else { return nil }
      offset += 2
      return (text[offset - 3] == "-", true)
    }
    if offset < text.count, text[offset] == "-" { offset += 1 }
    found.append(kind == "%" ? .openBlock : .openOutput)
    let close: Character = kind == "%" ? "%" : "}"
    while offset < text.count {
      let character = text[offset]
      let strips = character == "-"
      let end = offset + (strips ? 1 : 0)
      if end + 1 < text.count, text[end] == close, text[end + 1] == "}" {
        offset = end + 2
        found.append(.close)
        return (strips, kind == "%")
      }
      if character.isWhitespace {
        offset += 1
      } else if character == "'" || character == "\"" {
        guard literal(character) else { return nil }
      } else if character.isLetter || character == "_" || character.isNumber {
        word()
      } else {
        operation()
      }
      simplify()
    }
    return nil
  }

  private mutating func literal(_ quote: Character) -> Bool {
    var value = ""
    offset += 1
    while offset < text.count, text[offset] != quote {
      if text[offset] == "\\", offset + 1 < text.count {
        offset += 1
        value.append(text[offset] == "n" ? "\n" : text[offset])
      } else {
        value.append(text[offset])
      }
      offset += 1
    }
    guard offset < text.count else { return false }
    offset += 1
    found.append(.literal(value))
    return true
  }

  private mutating func word() {
    let start = offset
    while offset < text.count, text[offset].isLetter || text[offset].isNumber || text[offset] == "_" { offset += 1 }
    let value = String(text[start..<offset])
    found.append(value.first?.isNumber == true ? .other(value) : .word(value))
  }

  private mutating func operation() {
    let pair = String(text[offset..<min(offset + 2, text.count)])
    let value = ["==", "!="].contains(pair) ? pair : String(text[offset])
    offset += value.count
    found.append(.other(value))
  }

  private mutating func simplify() {
    if found.count >= 3, found[found.count - 1] == .other("]"), found[found.count - 3] == .other("["),
      case .literal(let name) = found[found.count - 2]
    {
      found.replaceSubrange((found.count - 3)..., with: [.other("."), .word(name)])
    }
    if found.suffix(4) == [.other("."), .word("strip"), .other("("), .other(")")] {
      found.replaceSubrange((found.count - 4)..., with: [.other("|"), .word("trim")])
    }
  }
}
