/// A template in the language Jinja, as chat templates use it.
///
/// Behaves as Jinja2 3.1 does with `trim_blocks`, `lstrip_blocks`, `break` and `continue`, in the immutable sandbox, with
/// the filter `tojson` and the functions `raise_exception` and `strftime_now` that the Python package transformers adds.
/// Other templates cannot be reached: `include`, `import`, `extends` and `block` are refused.
///
/// What a user wrote stays recognizable: strings can be marked, and the rendered text says which of its bytes come from
/// marked ones, whatever the template did with them.
///
/// Rendering is bounded by `TemplateLimits`, whatever the source and the variables are. A template may be rendered by any
/// number of tasks at once.
public struct Template: Sendable {
  /// The longest source that is parsed, in bytes of UTF-8.
  public static let longestSource = 1 << 20

  let body: [Statement]
  let names: [String]
  let frames: [FrameLayout]

  /// - Throws: `TemplateError` of the kinds `syntax`, `unsupported`, `sourceTooLong` and `nestedTooDeep`.
  public init(parsing source: String) throws(TemplateError) {
    guard source.utf8.count <= Self.longestSource else {
      throw TemplateError(.sourceTooLong, "the template is longer than \(Self.longestSource) bytes")
    }
    let tokens = try Lexer.tokens(of: source)
    var parser = Parser(tokens)
    body = try parser.template()
    try KnownNames.check(body)
    names = parser.names
    frames = Resolver.layouts(of: body, frameCount: parser.frameCount)
  }

  /// Renders the template.
  ///
  /// - Parameters:
  ///   - variables: The values of names. They come before the functions of the same name.
  ///   - now: What `strftime_now` formats; without it, `strftime_now` is undefined.
  /// - Throws: `TemplateError` of any kind but `syntax` and `sourceTooLong`; with the kind `raised`, the template refused
  ///   its input and `fault` is its own message.
  public func render(
    _ variables: [String: TemplateValue], now: TemplateDate? = nil, limits: TemplateLimits = TemplateLimits()
  ) throws(TemplateError) -> RenderedText {
    let evaluator = Evaluator(self, variables: variables, now: now, limits: limits)
    do throws(TemplateError) {
      return RenderedText(try evaluator.render())
    } catch {
      throw error.at(line: evaluator.line)
    }
  }
}
