/// How a list of statements ended.
enum Completion {
  case normal, leaveLoop, nextIteration
}

extension Evaluator {
  func execute(_ body: [Statement], _ frame: Frame) throws(TemplateError) -> Completion {
    for statement in body {
      line = statement.line
      let completion: Completion
      switch statement.kind {
      case .text(let units):
        try write(units)
        continue
      case .output(let expression):
        try writeValue(of: expression, frame)
        continue
      default:
        completion = try nested { () throws(TemplateError) in try execute(statement, frame) }
      }
      if completion != .normal { return completion }
    }
    return .normal
  }

  private func writeValue(of expression: Expression, _ frame: Frame) throws(TemplateError) {
    let value = try evaluate(expression, frame)
    if case .text(let text) = value {
      try write(text.units)
    } else {
      try write(try stringUnits(value))
    }
  }

  private func execute(_ statement: Statement, _ frame: Frame) throws(TemplateError) -> Completion {
    switch statement.kind {
    case .text, .output: return .normal  // Done above.
    case .conditional(let branches, let otherwise):
      for branch in branches where try evaluate(branch.test, frame).isTrue {
        return try execute(branch.body, frame)
      }
      return try execute(otherwise, frame)
    case .loop(let loop): try execute(loop, over: try evaluate(loop.sequence, frame), frame, depth0: 0)
    case .assign(let target, let expression): try assign(target, expression, frame)
    case .assignBlock(let target, let filters, let body, let id):
      return try assignBlock(target, filters, body, id, frame)
    case .macro(let macro):
      if let name = macro.name { store(try define(macro, frame), name, frame) }
    case .callBlock(let macro, let call): try callBlock(macro, call, frame)
    case .filterBlock(let filters, let body, let id): return try filterBlock(filters, body, id, frame)
    case .with(let values, let body, let id):
      let inner = try enter(id, in: frame)
      for (target, expression) in values { try assign(target, try evaluate(expression, frame), inner) }
      return try execute(body, inner)
    case .leaveLoop: return .leaveLoop
    case .nextIteration: return .nextIteration
    }
    return .normal
  }

  // MARK: Loops

  func execute(_ loop: Loop, over value: Value, _ frame: Frame, depth0: Int) throws(TemplateError) {
    let state = LoopState(try iterate(value), loop: loop, frame: frame, depth0: depth0)
    defer {
      state.running = nil
      state.testFrame = nil
    }
    // As in Jinja2, `else` counts the iterations that reached their end.
    var hasFinishedOne = false
    let start = line
    while let item = try advance(state) {
      let inner = try enter(loop.frame, in: frame)
      if let name = loop.loopName { store(.loop(state), name, inner) }
      try assign(loop.target, item, inner)
      switch try execute(loop.body, inner) {
      case .normal: hasFinishedOne = true
      case .nextIteration: break
      case .leaveLoop: return try executeElse(loop, frame, hasFinishedOne)
      }
      line = start
    }
    try executeElse(loop, frame, hasFinishedOne)
  }

  private func executeElse(_ loop: Loop, _ frame: Frame, _ hasFinishedOne: Bool) throws(TemplateError) {
    guard !hasFinishedOne, !loop.otherwise.isEmpty else { return }
    _ = try execute(loop.otherwise, try enter(loop.otherwiseFrame, in: frame))
  }

  /// `loop(…)` in a recursive loop.
  func recurse(_ state: LoopState, _ arguments: Arguments) throws(TemplateError) -> Value {
    guard arguments.positional.count == 1, arguments.keywords.isEmpty else {
      throw .operation("loop() takes one argument")
    }
    guard let (loop, frame) = state.running, loop.isRecursive else {
      throw .operation("The loop must have the 'recursive' marker to be called recursively.")
    }
    return try meter.text(
      try captured { () throws(TemplateError) in
        try execute(loop, over: arguments.positional[0], frame, depth0: state.depth0 + 1)
      })
  }

  // MARK: Assignments

  private func assign(_ target: Target, _ expression: Expression, _ frame: Frame) throws(TemplateError) {
    try checkNamespaces(target, frame)
    let value: Value
    if case .tuple = target, case .tuple(let parts) = expression {
      value = try evaluateTuple(parts, frame)
    } else {
      value = try evaluate(expression, frame)
    }
    try assign(target, value, frame)
  }

  private func checkNamespaces(_ target: Target, _ frame: Frame) throws(TemplateError) {
    switch target {
    case .name: break
    case .attribute(let name, _):
      guard case .namespace = try variable(name, frame) else {
        throw .operation("cannot assign attribute on non-namespace object")
      }
    case .tuple(let targets): for target in targets { try checkNamespaces(target, frame) }
    }
  }

  func assign(_ target: Target, _ value: Value, _ frame: Frame) throws(TemplateError) {
    switch target {
    case .name(let name): store(value, name, frame)
    case .attribute(let name, let attribute):
      guard case .namespace(let number) = try variable(name, frame) else {
        throw .operation("cannot assign attribute on non-namespace object")
      }
      try set(attribute, of: number, value)
    case .tuple(let targets):
      guard let iterator = try iterator(over: value) else {
        throw .operation("cannot unpack non-iterable \(value.typeName) object")
      }
      var items: [Value] = []
      while items.count <= targets.count, let item = try iterator.next(self) { items.append(item) }
      guard items.count >= targets.count else {
        throw .operation("not enough values to unpack (expected \(targets.count), got \(items.count))")
      }
      guard items.count == targets.count else {
        throw .operation("too many values to unpack (expected \(targets.count))")
      }
      for (target, item) in zip(targets, items) { try assign(target, item, frame) }
    }
  }

  func set(_ name: String, of namespace: Int, _ value: Value) throws(TemplateError) {
    if let place = namespaces[namespace].firstIndex(where: { $0.name == name }) {
      namespaces[namespace][place].value = value
    } else {
      try meter.step(namespaces[namespace].count * 8)
      try meter.charge(64 + name.utf8.count)  // Until the end: namespaces are kept.
      namespaces[namespace].append((name, value))
    }
  }

  private func assignBlock(
    _ target: Target, _ filters: [Postfix], _ body: [Statement], _ id: FrameID, _ frame: Frame
  ) throws(TemplateError) -> Completion {
    let inner = try enter(id, in: frame)
    var completion = Completion.normal
    let units = try captured { () throws(TemplateError) in completion = try execute(body, inner) }
    guard completion == .normal else { return completion }
    let value = try apply(filters, to: try meter.text(units), inner)
    try checkNamespaces(target, frame)
    try assign(target, value, frame)
    return .normal
  }

  private func filterBlock(
    _ filters: [Postfix], _ body: [Statement], _ id: FrameID, _ frame: Frame
  ) throws(TemplateError) -> Completion {
    let inner = try enter(id, in: frame)
    var completion = Completion.normal
    let units = try captured { () throws(TemplateError) in completion = try execute(body, inner) }
    guard completion == .normal else { return completion }
    try write(try stringUnits(try apply(filters, to: try meter.text(units), inner)))
    return .normal
  }

  // MARK: Macros

  private func define(_ macro: Macro, _ frame: Frame) throws(TemplateError) -> Value {
    try meter.charge(256)  // Until the end: macros are kept.
    macros.append(MacroInstance(macro: macro, frame: frame))
    return .macro(macros.count - 1)
  }

  private func callBlock(_ macro: Macro, _ call: Expression?, _ frame: Frame) throws(TemplateError) {
    let body = try define(macro, frame)
    guard case .postfix(let base, let parts) = call, case .call(let arguments) = parts.last else {
      return try write(try stringUnits(try invoke(body, Arguments())))
    }
    let callee = try apply(Array(parts.dropLast()), to: try evaluate(base, frame), frame)
    var given = try evaluate(arguments, frame)
    given.keywords.append(("caller", body))
    try write(try stringUnits(try invoke(callee, given)))
  }

  func call(_ instance: MacroInstance, _ arguments: Arguments) throws(TemplateError) -> Value {
    let macro = instance.macro
    let title = macro.name.map { "'\(name($0))'" } ?? "None"
    let frame = try enter(macro.frame, in: instance.frame)
    var keywords = arguments.keywords
    func take(_ name: String) -> Value? {
      keywords.firstIndex { $0.name == name }.map { keywords.remove(at: $0).value }
    }
    var values: [Value?] = arguments.positional.prefix(macro.parameters.count).map { $0 }
    while values.count < macro.parameters.count { values.append(take(name(macro.parameters[values.count]))) }
    for (parameter, value) in zip(macro.parameters, values) {
      if let value { store(value, parameter, frame) }
    }
    if let caller = macro.caller {
      var value = take("caller")
      if case .some(.none) = value { value = nil }
      store(value ?? .undefined(Missing("No caller defined")), caller, frame)
    }
    if let rest = macro.keywords {
      var members: [(key: Value, value: Value)] = []
      for (name, value) in keywords { members.append((try meter.text(name), value)) }
      store(.mapping(try Mapping(members, meter: meter)), rest, frame)
    } else if let extra = keywords.first {
      if keywords.contains(where: { $0.name == "caller" }) {
        throw .operation(
          "macro \(title) was invoked with two values for the special caller argument. This is most likely a bug.")
      }
      throw .operation("macro \(title) takes no keyword argument '\(extra.name)'")
    }
    if let rest = macro.rest {
      store(try meter.tuple(Array(arguments.positional.dropFirst(macro.parameters.count))), rest, frame)
    } else if arguments.positional.count > macro.parameters.count {
      throw .operation("macro \(title) takes not more than \(macro.parameters.count) argument(s)")
    }
    let start = line
    let units = try captured { () throws(TemplateError) in
      for (index, parameter) in macro.parameters.enumerated() where values[index] == nil {
        let place = index - macro.parameters.count + macro.defaults.count
        let value: Value =
          place >= 0
          ? try evaluate(macro.defaults[place], frame)
          : .undefined(Missing("parameter '\(name(parameter))' was not provided"))
        store(value, parameter, frame)
      }
      _ = try execute(macro.body, frame)
    }
    line = start
    return try meter.text(units)
  }
}
