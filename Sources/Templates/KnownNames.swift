/// Refuses filters and tests that nobody knows, as Jinja2 does, before anything is rendered.
///
/// In conditions they are only refused when they are reached, so that a template can ask whether they exist.
struct KnownNames {
  private var line = 1
  private var fault: TemplateError?

  static func check(_ body: [Statement]) throws(TemplateError) {
    var check = KnownNames()
    check.visit(body, isConditional: false)
    if let fault = check.fault { throw fault }
  }

  private mutating func visit(_ body: [Statement], isConditional: Bool) {
    for statement in body where fault == nil { visit(statement, isConditional) }
  }

  private mutating func visit(_ statement: Statement, _ isConditional: Bool) {
    line = statement.line
    switch statement.kind {
    case .text, .leaveLoop, .nextIteration: break
    case .output(let value), .assign(_, let value): visit(value, isConditional)
    case .conditional(let branches, let otherwise):
      for branch in branches {
        visit(branch.test, true)
        visit(branch.body, isConditional: true)
      }
      visit(otherwise, isConditional: true)
    // What has a frame of its own starts anew.
    case .loop(let loop):
      visit(loop.sequence, isConditional)
      if let test = loop.test { visit(test, false) }
      visit(loop.body, isConditional: false)
      visit(loop.otherwise, isConditional: false)
    case .assignBlock(_, let filters, let body, _), .filterBlock(let filters, let body, _):
      visit(filters, false)
      visit(body, isConditional: false)
    case .macro(let macro): visit(macro)
    case .callBlock(let macro, let call):
      visit(macro)
      if let call { visit(call, isConditional) }
    case .with(let values, let body, _):
      for value in values { visit(value.value, isConditional) }
      visit(body, isConditional: false)
    }
  }

  private mutating func visit(_ macro: Macro) {
    for value in macro.defaults { visit(value, false) }
    visit(macro.body, isConditional: false)
  }

  private mutating func visit(_ expression: Expression, _ isConditional: Bool) {
    var isConditional = isConditional
    if case .conditional = expression { isConditional = true }
    if case .postfix(let first, let parts) = expression {
      visit(first, isConditional)
      visit(parts, isConditional)
      return
    }
    expression.forEachChild { visit($0, isConditional) }
  }

  private mutating func visit(_ parts: [Postfix], _ isConditional: Bool) {
    for part in parts {
      if !isConditional { check(part) }
      part.forEachChild { visit($0, isConditional) }
    }
  }

  private mutating func check(_ part: Postfix) {
    guard fault == nil else { return }
    switch part {
    case .filter(let name, _) where !Evaluator.filterNames.contains(name):
      fault = TemplateError(.syntax, line: line, "No filter named '\(name)'.")
    case .test(let name, _, _) where !Evaluator.testNames.contains(name):
      fault = TemplateError(.syntax, line: line, "No test named '\(name)'.")
    default: break
    }
  }
}
