/// Goes through the items of a value.
final class ValueIterator {
  private enum Source {
    case items(Items)
    case text(Text)
    case range(IntegerRange)
    case mapping(Mapping, MappingView.Part)
    case generator(Generator)
    case nothing
  }

  private let source: Source
  private var position = 0
  /// How many items there are, if the value has a length.
  let count: Int?
  let depth: Int

  init?(_ value: Value) {
    depth = value.depth
    switch value {
    case .list(let items), .tuple(let items): (source, count) = (.items(items), items.items.count)
    case .text(let text): (source, count) = (.text(text), text.units.count)
    case .range(let range): (source, count) = (.range(range), range.count)
    case .mapping(let mapping): (source, count) = (.mapping(mapping, .keys), mapping.count)
    case .view(let view): (source, count) = (.mapping(view.mapping, view.part), view.mapping.count)
    case .generator(let generator): (source, count) = (.generator(generator), nil)
    case .undefined(let missing) where missing.kind == .undefined || missing.kind == .forbidden:
      (source, count) = (.nothing, 0)
    default: return nil
    }
  }

  func next(_ evaluator: Evaluator) throws(TemplateError) -> Value? {
    if case .generator(let generator) = source { return generator.next() }
    guard let count, position < count else { return nil }
    defer { position += 1 }
    switch source {
    case .items(let items): return items.items[position]
    case .text(let text): return try evaluator.meter.text([text.units[position]])
    case .range(let range): return range[position]
    case .mapping(let mapping, .keys): return mapping.keys[position]
    case .mapping(let mapping, .values): return mapping.values[position]
    case .mapping(let mapping, .items):
      return try evaluator.meter.tuple([mapping.keys[position], mapping.values[position]])
    case .generator, .nothing: return nil
    }
  }
}

/// The state of a running loop, and the variable `loop` of its body.
final class LoopState {
  let iterator: ValueIterator
  /// The loop and the frame around it, while it runs. Cleared at its end: otherwise there would be cycles of references.
  var running: (loop: Loop, frame: Frame)?
  /// Of the test of its items; made when it is first needed.
  var testFrame: Frame?
  var index0 = -1
  let depth0: Int
  var length: Int?
  var before: Value?
  var current: Value?
  /// The item that was looked at ahead; the outer optional says whether one was.
  var after: Value??
  var lastChanged: Items?
  /// The rest of the items that passed the test, once the loop's length was asked for.
  var drained: Generator?

  init(_ iterator: ValueIterator, loop: Loop, frame: Frame, depth0: Int) {
    self.iterator = iterator
    self.depth0 = depth0
    running = (loop, frame)
    length = loop.test == nil ? iterator.count : nil
  }

  var isTrue: Bool { index0 >= 0 || length ?? 1 > 0 }
  var depthOfItems: Int { iterator.depth + 1 }
}

extension Evaluator {
  func iterator(over value: Value) throws(TemplateError) -> ValueIterator? {
    try meter.step()
    return ValueIterator(value)
  }

  /// Goes through a value that must have items.
  func iterate(_ value: Value) throws(TemplateError) -> ValueIterator {
    guard let iterator = try iterator(over: value) else {
      throw .operation("'\(value.typeName)' object is not iterable")
    }
    return iterator
  }

  /// All items of a value, as Python's `list` gives them.
  func items(of value: Value) throws(TemplateError) -> [Value] {
    switch value {
    case .list(let items), .tuple(let items): return items.items
    case .generator(let generator): return generator.rest()
    default: break
    }
    let iterator = try iterate(value)
    var items: [Value] = []
    try meter.check((iterator.count ?? 0) * MemoryLayout<Value>.stride)
    items.reserveCapacity(iterator.count ?? 0)
    while let item = try iterator.next(self) {
      try meter.step()
      items.append(item)
    }
    return items
  }

  // MARK: Loops

  /// The next item that passes the loop's test.
  private func pull(_ state: LoopState) throws(TemplateError) -> Value? {
    if let drained = state.drained { return drained.next() }
    while let item = try state.iterator.next(self) {
      try meter.step()
      guard let (loop, frame) = state.running, let test = loop.test else { return item }
      let testFrame: Frame
      if let known = state.testFrame {
        testFrame = known
      } else {
        testFrame = try enter(loop.testFrame, in: frame)
        state.testFrame = testFrame
      }
      try assign(loop.target, item, testFrame)
      if try evaluate(test, testFrame).isTrue { return item }
    }
    return nil
  }

  func advance(_ state: LoopState) throws(TemplateError) -> Value? {
    let next: Value?
    if let after = state.after {
      next = after
      state.after = nil
    } else {
      next = try pull(state)
    }
    guard let next else { return nil }
    state.index0 += 1
    state.before = state.current
    state.current = next
    return next
  }

  private func peek(_ state: LoopState) throws(TemplateError) -> Value? {
    if let after = state.after, after != nil { return after }
    let after = try pull(state)
    state.after = .some(after)
    return after
  }

  private func length(_ state: LoopState) throws(TemplateError) -> Int {
    if let length = state.length { return length }
    var rest: [Value] = []
    let ahead = state.after ?? nil
    while let item = try pull(state) {
      try meter.check(rest.count * MemoryLayout<Value>.stride)
      rest.append(item)
    }
    let length = rest.count + state.index0 + 1 + (ahead == nil ? 0 : 1)
    state.length = length
    state.drained = try Generator(Items(rest, meter: meter))
    return length
  }

  func attribute(_ name: String, of state: LoopState) throws(TemplateError) -> Value? {
    switch name {
    case "index": return .integer(state.index0 + 1)
    case "index0": return .integer(state.index0)
    case "revindex": return .integer(try length(state) - state.index0)
    case "revindex0": return .integer(try length(state) - state.index0 - 1)
    case "first": return .boolean(state.index0 == 0)
    case "last": return .boolean(try peek(state) == nil)
    case "length": return .integer(try length(state))
    case "depth": return .integer(state.depth0 + 1)
    case "depth0": return .integer(state.depth0)
    case "previtem":
      return state.index0 == 0 ? .undefined(Missing("there is no previous item")) : state.before ?? .none
    case "nextitem": return try peek(state) ?? .undefined(Missing("there is no next item"))
    case "cycle", "changed": return .method(try Method(.loop(state), name))
    default: return nil
    }
  }

  func call(_ name: String, of state: LoopState, _ arguments: Arguments) throws(TemplateError) -> Value {
    guard arguments.keywords.isEmpty else { throw .operation("loop.\(name)() takes no keyword arguments") }
    if name == "cycle" {
      guard !arguments.positional.isEmpty else { throw .operation("no items for cycling given") }
      return arguments.positional[max(state.index0, 0) % arguments.positional.count]
    }
    let value = try Items(arguments.positional, meter: meter)
    if let last = state.lastChanged, try isEqual(.tuple(last), .tuple(value)) { return .boolean(false) }
    state.lastChanged = value
    return .boolean(true)
  }
}
