/// Makes the syntax tree of a template's tokens.
struct Parser {
  /// How deep statements and expressions may be nested in all.
  static let depthLimit = 64

  let source: [UInt32]
  let tokens: [Token]
  var index = 0
  var names: [String] = []
  var frameCount = 1  // The template's own frame is 0.
  private var numbers: [String: NameID] = [:]
  private var depth = 0
  /// Loops around the current statement that `break` can leave.
  var loopDepth = 0
  /// The tags that are open, for messages.
  var openTags: [String] = []

  init(_ tokens: Tokens) {
    source = tokens.source
    self.tokens = tokens.tokens
  }

  mutating func template() throws(TemplateError) -> [Statement] {
    try statements(until: [])
  }

  // MARK: Tokens

  /// The last token is the end of the template, which is never passed.
  var current: Token { tokens[index] }

  var next: Token { tokens[min(index + 1, tokens.count - 1)] }

  mutating func advance() { if index + 1 < tokens.count { index += 1 } }

  func text(_ token: Token) -> String {
    var text = String.UnicodeScalarView()
    for unit in source[Int(token.start)..<Int(token.end)] { text.append(Unicode.Scalar(unit) ?? "\u{FFFD}") }
    return String(text)
  }

  func isName(_ word: String, _ token: Token) -> Bool {
    guard token.kind == .name, Int(token.end - token.start) == word.utf8.count else { return false }
    return zip(source[Int(token.start)..<Int(token.end)], word.utf8).allSatisfy { $0 == UInt32($1) }
  }

  func isName(_ word: String) -> Bool { isName(word, current) }

  mutating func skip(_ kind: Token.Kind) -> Bool {
    guard current.kind == kind else { return false }
    advance()
    return true
  }

  mutating func skipName(_ word: String) -> Bool {
    guard isName(word) else { return false }
    advance()
    return true
  }

  func describe(_ token: Token) -> String { token.kind == .name ? text(token) : Token.description(token.kind) }

  func failure(_ fault: String, line: Int? = nil) -> TemplateError {
    TemplateError(.syntax, line: line ?? Int(current.line), fault)
  }

  @discardableResult
  mutating func expect(_ kind: Token.Kind) throws(TemplateError) -> Token {
    let token = current
    guard token.kind == kind else {
      if token.kind == .end { throw failure("unexpected end of template, expected '\(Token.description(kind))'.") }
      throw failure("expected token '\(Token.description(kind))', got '\(describe(token))'")
    }
    advance()
    return token
  }

  mutating func expectName(_ word: String) throws(TemplateError) {
    guard skipName(word) else { throw failure("expected token '\(word)', got '\(describe(current))'") }
  }

  mutating func nameID(_ name: String) -> NameID {
    if let number = numbers[name] { return number }
    numbers[name] = names.count
    names.append(name)
    return names.count - 1
  }

  mutating func newFrame() -> FrameID {
    frameCount += 1
    return frameCount - 1
  }

  /// Runs a part of the grammar that may contain itself.
  mutating func nested<Result>(
    _ body: (inout Parser) throws(TemplateError) -> Result
  ) throws(TemplateError) -> Result {
    depth += 1
    guard depth <= Self.depthLimit else {
      throw TemplateError(
        .nestedTooDeep, line: Int(current.line), "nested deeper than \(Self.depthLimit) statements and expressions")
    }
    defer { depth -= 1 }
    return try body(&self)
  }
}
