/// Which variables a frame (the template, the body of a loop, a macro…) has, and what they are when it is entered.
///
/// As in Jinja2, that is decided before rendering: a name that a frame assigns is a variable of the frame, which starts
/// with the value that the name has around it, and everything inside the frame refers to that variable.
struct FrameLayout: Sendable {
  enum Start: Sendable {
    /// Is set by whoever enters the frame.
    case parameter
    /// The template's variables and functions are asked.
    case resolved
    /// The value of the frames around it.
    case outer
    /// Nothing until it is assigned.
    case missing
  }

  private(set) var names: [NameID] = []
  private(set) var starts: [Start] = []
  /// Only where there are too many names to go through them.
  private var slots: [NameID: Int] = [:]

  func slot(of name: NameID) -> Int? {
    names.count <= 12 ? names.firstIndex(of: name) : slots[name]
  }

  fileprivate mutating func define(_ name: NameID, _ start: Start) {
    if let slot = slots[name] {
      starts[slot] = start
    } else {
      slots[name] = names.count
      names.append(name)
      starts.append(start)
    }
  }

  fileprivate func has(_ name: NameID) -> Bool { slots[name] != nil }
}

/// Computes the layouts of all frames.
struct Resolver {
  private var layouts: [FrameLayout]

  static func layouts(of body: [Statement], frameCount: Int) -> [FrameLayout] {
    var resolver = Resolver(layouts: Array(repeating: FrameLayout(), count: frameCount))
    var root = FrameAnalysis(around: [])
    root.visit(body)
    resolver.finish(0, root, body, around: [])
    return resolver.layouts
  }

  private mutating func finish(
    _ frame: FrameID, _ analysis: FrameAnalysis, _ body: [Statement], around: [FrameLayout]
  ) {
    layouts[frame] = analysis.layout
    enter(body, around: around + [analysis.layout])
  }

  /// Goes through statements of one frame for the frames that start in them. `around` ends with the frame itself.
  private mutating func enter(_ body: [Statement], around: [FrameLayout]) {
    for statement in body { enter(statement, around: around) }
  }

  private mutating func enter(_ statement: Statement, around: [FrameLayout]) {
    var analysis = FrameAnalysis(around: around)
    switch statement.kind {
    case .text, .output, .assign, .leaveLoop, .nextIteration: break
    case .conditional(let branches, let otherwise):
      for branch in branches { enter(branch.body, around: around) }
      enter(otherwise, around: around)
    case .loop(let loop):
      if let name = loop.loopName { analysis.declare(name) }
      analysis.declare(loop.target)
      analysis.visit(loop.body)
      finish(loop.frame, analysis, loop.body, around: around)
      if let test = loop.test {
        var analysis = FrameAnalysis(around: around)
        analysis.declare(loop.target)
        analysis.visit(test)
        finish(loop.testFrame, analysis, [], around: around)
      }
      var analysis = FrameAnalysis(around: around)
      analysis.visit(loop.otherwise)
      finish(loop.otherwiseFrame, analysis, loop.otherwise, around: around)
    case .assignBlock(_, let filters, let body, let frame):
      analysis.visit(body)
      analysis.visit(filters)
      finish(frame, analysis, body, around: around)
    case .filterBlock(let filters, let body, let frame):
      analysis.visit(body)
      analysis.visit(filters)
      finish(frame, analysis, body, around: around)
    case .macro(let macro), .callBlock(let macro, _):
      for name in macro.parameters { analysis.declare(name) }
      for value in macro.defaults { analysis.visit(value) }
      analysis.visit(macro.body)
      for name in [macro.caller, macro.keywords, macro.rest].compactMap({ $0 }) { analysis.declare(name) }
      finish(macro.frame, analysis, macro.body, around: around)
    case .with(let values, let body, let frame):
      for value in values { analysis.declare(value.target) }
      analysis.visit(body)
      finish(frame, analysis, body, around: around)
    }
  }
}

/// Finds the variables of one frame. Does not enter the frames inside it.
private struct FrameAnalysis {
  let around: [FrameLayout]
  var layout = FrameLayout()
  /// In the order in which they were first assigned.
  private var assigned: [NameID] = []
  private var isAssigned: Set<NameID> = []

  init(around: [FrameLayout]) { self.around = around }

  private func isKnownAround(_ name: NameID) -> Bool { around.contains { $0.has(name) } }

  mutating func declare(_ name: NameID) {
    noteAssigned(name)
    layout.define(name, .parameter)
  }

  mutating func declare(_ target: Target) {
    switch target {
    case .name(let name): declare(name)
    case .attribute: break
    case .tuple(let targets): for target in targets { declare(target) }
    }
  }

  private mutating func noteAssigned(_ name: NameID) {
    if isAssigned.insert(name).inserted { assigned.append(name) }
  }

  private mutating func load(_ name: NameID) {
    if !layout.has(name), !isKnownAround(name) { layout.define(name, .resolved) }
  }

  private mutating func store(_ name: NameID) {
    noteAssigned(name)
    if !layout.has(name) { layout.define(name, isKnownAround(name) ? .outer : .missing) }
  }

  private mutating func store(_ target: Target) {
    switch target {
    case .name(let name): store(name)
    case .attribute(let name, _): load(name)
    case .tuple(let targets): for target in targets { store(target) }
    }
  }

  mutating func visit(_ body: [Statement]) { for statement in body { visit(statement) } }

  private mutating func visit(_ statement: Statement) {
    switch statement.kind {
    case .text, .leaveLoop, .nextIteration: break
    case .output(let value): visit(value)
    case .conditional(let branches, let otherwise):
      let before = assigned.count
      for branch in branches {
        visit(branch.test)
        visit(branch.body)
      }
      visit(otherwise)
      // What only some branches assign is otherwise what it is outside.
      for name in assigned[before...] { layout.define(name, isKnownAround(name) ? .outer : .resolved) }
    case .loop(let loop): visit(loop.sequence)
    case .assign(let target, let value):
      visit(value)
      store(target)
    case .assignBlock(let target, _, _, _): store(target)
    case .macro(let macro): if let name = macro.name { store(name) }
    case .callBlock(_, let call): if let call { visit(call) }
    case .filterBlock(let filters, _, _): visit(filters)
    case .with(let values, _, _): for value in values { visit(value.value) }
    }
  }

  mutating func visit(_ expression: Expression) {
    if case .name(let name) = expression { load(name) }
    expression.forEachChild { visit($0) }
  }

  mutating func visit(_ parts: [Postfix]) {
    for part in parts { part.forEachChild { visit($0) } }
  }
}

/// Finds which of some names statements refer to before they assign them.
struct NameFinder {
  private var wanted: Set<NameID>
  private(set) var found: Set<NameID> = []

  init(wanted: Set<NameID>) { self.wanted = wanted }

  mutating func visit(_ body: [Statement]) {
    for statement in body where !wanted.isEmpty { visit(statement) }
  }

  private mutating func visit(_ target: Target) {
    switch target {
    case .name(let name): wanted.remove(name)
    case .attribute: break
    case .tuple(let targets): for target in targets { visit(target) }
    }
  }

  private mutating func visit(_ expression: Expression) {
    if case .name(let name) = expression, wanted.contains(name) { found.insert(name) }
    expression.forEachChild { visit($0) }
  }

  private mutating func visit(_ parts: [Postfix]) {
    for part in parts { part.forEachChild { visit($0) } }
  }

  private mutating func visit(_ macro: Macro) {
    for name in macro.parameters { wanted.remove(name) }
    for value in macro.defaults { visit(value) }
    visit(macro.body)
  }

  private mutating func visit(_ statement: Statement) {
    switch statement.kind {
    case .text, .leaveLoop, .nextIteration: break
    case .output(let value): visit(value)
    case .conditional(let branches, let otherwise):
      for branch in branches {
        visit(branch.test)
        visit(branch.body)
      }
      visit(otherwise)
    case .loop(let loop):
      visit(loop.target)
      visit(loop.sequence)
      visit(loop.body)
      visit(loop.otherwise)
      if let test = loop.test { visit(test) }
    case .assign(let target, let value):
      visit(target)
      visit(value)
    case .assignBlock(let target, let filters, let body, _):
      visit(target)
      visit(filters)
      visit(body)
    case .macro(let macro): visit(macro)
    case .callBlock(let macro, let call):
      if let call { visit(call) }
      visit(macro)
    case .filterBlock(let filters, let body, _):
      visit(body)
      visit(filters)
    case .with(let values, let body, _):
      for value in values { visit(value.target) }
      for value in values { visit(value.value) }
      visit(body)
    }
  }

  /// Whether a loop assigns a name anywhere in it.
  static func stores(_ name: NameID, in loop: Loop) -> Bool {
    stores(name, loop.target) || stores(name, loop.body) || stores(name, loop.otherwise)
  }

  private static func stores(_ name: NameID, _ target: Target) -> Bool {
    switch target {
    case .name(let stored): stored == name
    case .attribute: false
    case .tuple(let targets): targets.contains { stores(name, $0) }
    }
  }

  private static func stores(_ name: NameID, _ body: [Statement]) -> Bool {
    body.contains { statement in
      switch statement.kind {
      case .conditional(let branches, let otherwise):
        branches.contains { stores(name, $0.body) } || stores(name, otherwise)
      case .assign(let target, _): stores(name, target)
      case .assignBlock(let target, _, let body, _): stores(name, target) || stores(name, body)
      case .macro(let macro), .callBlock(let macro, _): stores(name, macro.body)
      case .filterBlock(_, let body, _), .with(_, let body, _): stores(name, body)
      // An inner loop has been checked when it was read.
      case .loop, .text, .output, .leaveLoop, .nextIteration: false
      }
    }
  }
}

extension Expression {
  func forEachChild(_ body: (Expression) -> Void) {
    switch self {
    case .constant, .name: break
    case .list(let parts), .tuple(let parts), .and(let parts), .or(let parts), .concatenation(let parts):
      for part in parts { body(part) }
    case .mapping(let members):
      for member in members {
        body(member.key)
        body(member.value)
      }
    case .not(let value), .negative(let value), .positive(let value): body(value)
    case .arithmetic(let first, let rest):
      body(first)
      for part in rest { body(part.operand) }
    case .comparison(let first, let rest):
      body(first)
      for part in rest { body(part.operand) }
    case .conditional(let test, let then, let otherwise):
      body(test)
      body(then)
      if let otherwise { body(otherwise) }
    case .postfix(let first, let parts):
      body(first)
      for part in parts { part.forEachChild(body) }
    }
  }
}

extension Postfix {
  func forEachChild(_ body: (Expression) -> Void) {
    switch self {
    case .attribute: break
    case .item(let value): body(value)
    case .slice(let start, let stop, let step): for value in [start, stop, step].compactMap({ $0 }) { body(value) }
    case .call(let arguments), .filter(_, let arguments), .test(_, let arguments, _):
      for value in arguments.all { body(value) }
    }
  }
}
