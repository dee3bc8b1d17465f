extension Parser {
  /// Statements up to a tag with one of the names `ends`, which becomes the current token; without ends, to the end.
  mutating func statements(until ends: [String]) throws(TemplateError) -> [Statement] {
    var body: [Statement] = []
    while true {
      let token = current
      let line = Int(token.line)
      switch token.kind {
      case .data:
        advance()
        body.append(Statement(line: line, kind: .text(Array(source[Int(token.start)..<Int(token.end)]))))
      case .variableBegin:
        advance()
        body.append(Statement(line: line, kind: .output(try tuple())))
        try expect(.variableEnd)
      case .blockBegin:
        advance()
        if ends.contains(where: { isName($0) }) { return body }
        body += try nested { (parser) throws(TemplateError) in try parser.statement(ends) }
        try expect(.blockEnd)
      default:
        guard token.kind == .end else { throw failure("unexpected '\(describe(token))'") }
        if ends.isEmpty { return body }
        throw failure("Unexpected end of template. \(looking(for: ends))")
      }
    }
  }

  private func looking(for ends: [String]) -> String {
    let tags = ends.map { "'\($0)'" }.joined(separator: " or ")
    let innermost = openTags.last.map { " The innermost block that needs to be closed is '\($0)'." } ?? ""
    return "Jinja was looking for the following tags: \(tags).\(innermost)"
  }

  /// The body of a block, whose tag ends here. With `closing`, the end's name is passed.
  private mutating func block(until ends: [String], closing: Bool = true) throws(TemplateError) -> [Statement] {
    _ = skip(.colon)
    try expect(.blockEnd)
    let body = try statements(until: ends)
    if closing { advance() }
    return body
  }

  private mutating func statement(_ ends: [String]) throws(TemplateError) -> [Statement] {
    let token = current
    let line = Int(token.line)
    guard token.kind == .name else { throw failure("tag name expected") }
    let tag = text(token)
    openTags.append(tag)
    defer { openTags.removeLast() }
    advance()
    let kind: Statement.Kind
    switch tag {
    case "for": kind = try loop(line)
    case "if": kind = try conditional()
    case "set": kind = try assignment(line)
    case "macro":
      let name = nameID(text(try expect(.name)))
      kind = .macro(try macro(named: name, line, until: "endmacro"))
    case "call": kind = try callBlock(line)
    case "generation":
      kind = .callBlock(try macroBody(nil, [], [], line, until: "endgeneration"), call: nil)
    case "filter":
      var filters: [Postfix] = []
      repeat { filters.append(try filter()) } while skip(.pipe)
      let frame = newFrame()
      kind = .filterBlock(filters, body: try block(until: ["endfilter"]), frame: frame)
    case "with": kind = try with()
    case "print":
      var outputs: [Statement] = []
      while current.kind != .blockEnd {
        if !outputs.isEmpty { try expect(.comma) }
        outputs.append(Statement(line: line, kind: .output(try expression())))
      }
      return outputs
    case "break", "continue":
      guard loopDepth > 0 else { throw failure("'\(tag)' outside loop", line: line) }
      kind = tag == "break" ? .leaveLoop : .nextIteration
    case "include", "import", "from", "extends", "block", "autoescape":
      throw TemplateError(.unsupported, line: line, "the tag '\(tag)' is not supported")
    default:
      let expected = ends.isEmpty ? "" : " " + looking(for: ends)
      throw failure("Encountered unknown tag '\(tag)'.\(expected)", line: line)
    }
    return [Statement(line: line, kind: kind)]
  }

  private mutating func loop(_ line: Int) throws(TemplateError) -> Statement.Kind {
    let target = try assignmentTarget(endingWith: "in")
    try expectName("in")
    let sequence = try tuple(withConditional: false, endingWith: "recursive")
    let test = skipName("if") ? try expression() : nil
    let isRecursive = skipName("recursive")
    let frame = newFrame()
    let testFrame = newFrame()
    let otherwiseFrame = newFrame()
    loopDepth += 1
    let body = try block(until: ["endfor", "else"], closing: false)
    loopDepth -= 1
    let hasElse = isName("else")
    advance()
    let otherwise = hasElse ? try block(until: ["endfor"]) : []
    let loopName = nameID("loop")
    var finder = NameFinder(wanted: [loopName])
    finder.visit(body)
    let loop = Loop(
      target: target, sequence: sequence, test: test, isRecursive: isRecursive, body: body, otherwise: otherwise,
      loopName: isRecursive || finder.found.contains(loopName) ? loopName : nil, frame: frame, testFrame: testFrame,
      otherwiseFrame: otherwiseFrame)
    if NameFinder.stores(loopName, in: loop) {
      throw failure("Can't assign to special loop variable in for-loop target", line: line)
    }
    return .loop(loop)
  }

  private mutating func conditional() throws(TemplateError) -> Statement.Kind {
    var branches: [(test: Expression, body: [Statement])] = []
    var otherwise: [Statement] = []
    while true {
      let test = try tuple(withConditional: false)
      branches.append((test, try block(until: ["elif", "else", "endif"], closing: false)))
      if skipName("elif") { continue }
      let hasElse = isName("else")
      advance()
      if hasElse { otherwise = try block(until: ["endif"]) }
      return .conditional(branches, otherwise: otherwise)
    }
  }

  private mutating func assignment(_ line: Int) throws(TemplateError) -> Statement.Kind {
    let target = try assignmentTarget(withAttributes: true)
    if skip(.assign) { return .assign(target, try tuple()) }
    var filters: [Postfix] = []
    while skip(.pipe) { filters.append(try filter()) }
    let frame = newFrame()
    return .assignBlock(target, filters: filters, body: try block(until: ["endset"]), frame: frame)
  }

  private mutating func with() throws(TemplateError) -> Statement.Kind {
    var values: [(target: Target, value: Expression)] = []
    while current.kind != .blockEnd {
      if !values.isEmpty { try expect(.comma) }
      let target = try assignmentTarget()
      try expect(.assign)
      values.append((target, try expression()))
    }
    let frame = newFrame()
    return .with(values, body: try block(until: ["endwith"]), frame: frame)
  }

  private mutating func macro(named name: NameID?, _ line: Int, until end: String) throws(TemplateError) -> Macro {
    let (parameters, defaults) = try signature()
    return try macroBody(name, parameters, defaults, line, until: end)
  }

  private mutating func signature() throws(TemplateError) -> (parameters: [NameID], defaults: [Expression]) {
    var parameters: [NameID] = []
    var defaults: [Expression] = []
    try expect(.leftParenthesis)
    while current.kind != .rightParenthesis {
      if !parameters.isEmpty { try expect(.comma) }
      let name = text(try expect(.name))
      try refuseConstant(name)
      let parameter = nameID(name)
      guard !parameters.contains(parameter) else {
        throw failure("duplicate argument '\(name)' in function definition")
      }
      if skip(.assign) {
        defaults.append(try expression())
      } else if !defaults.isEmpty {
        throw failure("non-default argument follows default argument")
      }
      parameters.append(parameter)
    }
    try expect(.rightParenthesis)
    return (parameters, defaults)
  }

  private mutating func macroBody(
    _ name: NameID?, _ parameters: [NameID], _ defaults: [Expression], _ line: Int, until end: String
  ) throws(TemplateError) -> Macro {
    let frame = newFrame()
    let outerLoops = loopDepth
    loopDepth = 0
    let body = try block(until: [end])
    loopDepth = outerLoops
    let caller = nameID("caller")
    let keywords = nameID("kwargs")
    let rest = nameID("varargs")
    var finder = NameFinder(wanted: [caller, keywords, rest])
    finder.visit(body)
    if finder.found.contains(caller), let place = parameters.firstIndex(of: caller),
      place < parameters.count - defaults.count
    {
      throw failure(
        "When defining macros or call blocks the special \"caller\" argument must be omitted or be given a default.",
        line: line)
    }
    func special(_ name: NameID) -> NameID? {
      finder.found.contains(name) && !parameters.contains(name) ? name : nil
    }
    return Macro(
      name: name, parameters: parameters, defaults: defaults, body: body, frame: frame,
      usesCaller: finder.found.contains(caller), caller: special(caller), keywords: special(keywords),
      rest: special(rest))
  }

  private mutating func callBlock(_ line: Int) throws(TemplateError) -> Statement.Kind {
    let (parameters, defaults) = current.kind == .leftParenthesis ? try signature() : ([], [])
    let call = try expression()
    guard case .postfix(_, let parts) = call, case .call = parts.last else {
      throw failure("expected call", line: line)
    }
    return .callBlock(try macroBody(nil, parameters, defaults, line, until: "endcall"), call: call)
  }

  // MARK: Targets

  func refuseConstant(_ name: String) throws(TemplateError) {
    if ["true", "false", "none", "True", "False", "None"].contains(name) {
      throw failure("can't assign to 'const'")
    }
  }

  private mutating func assignmentTarget(
    endingWith end: String? = nil, withAttributes: Bool = false
  ) throws(TemplateError) -> Target {
    var targets: [Target] = []
    var isTuple = false
    while true {
      if targetsEnd(end) { break }
      targets.append(try singleTarget(withAttributes))
      guard skip(.comma) else { break }
      isTuple = true
    }
    if isTuple { return .tuple(targets) }
    guard let target = targets.first else {
      throw failure("Expected an expression, got '\(describe(current))'")
    }
    return target
  }

  private func targetsEnd(_ end: String?) -> Bool {
    switch current.kind {
    case .variableEnd, .blockEnd, .rightParenthesis: true
    default: end.map { isName($0) } ?? false
    }
  }

  private mutating func singleTarget(_ withAttributes: Bool) throws(TemplateError) -> Target {
    if current.kind == .leftParenthesis {
      advance()
      let target = try nested { (parser) throws(TemplateError) in
        try parser.parenthesizedTarget()
      }
      try expect(.rightParenthesis)
      return target
    }
    guard current.kind == .name else { throw failure("can't assign to '\(describe(current))'") }
    let name = text(current)
    try refuseConstant(name)
    advance()
    if withAttributes, skip(.dot) {
      return .attribute(of: nameID(name), text(try expect(.name)))
    }
    return .name(nameID(name))
  }

  private mutating func parenthesizedTarget() throws(TemplateError) -> Target {
    if current.kind == .rightParenthesis { return .tuple([]) }
    return try assignmentTarget()
  }
}
