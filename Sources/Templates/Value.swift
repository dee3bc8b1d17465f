/// A value inside a rendering.
///
/// Texts, lists, tuples and dictionaries cannot change. What can change (namespaces) and what refers to frames (macros)
/// are numbers into the evaluator's tables, so that there are no cycles of references.
enum Value {
  case undefined(Missing)
  case none
  case boolean(Bool)
  case integer(Int)
  case float(Double)
  case text(Text)
  case list(Items)
  case tuple(Items)
  case mapping(Mapping)
  case view(MappingView)
  case range(IntegerRange)
  case generator(Generator)
  case namespace(Int)
  case macro(Int)
  case loop(LoopState)
  case method(Method)
  case function(Function)
  case cycler(Cycler)
  case joiner(Joiner)
}

/// The functions that every template has.
enum Function: String {
  case range, dict, namespace, cycler, joiner
  case raise = "raise_exception"
  case now = "strftime_now"
  /// The template itself: its blocks are its attributes, of which there are none here.
  case template = "self"
}

/// Why a value is undefined: what using it says.
final class Missing {
  let kind: TemplateError.Kind
  let fault: String

  init(_ fault: String, _ kind: TemplateError.Kind = .undefined) {
    self.kind = kind
    self.fault = fault
  }

  var error: TemplateError { TemplateError(kind, fault) }
}

/// What a value costs besides its contents.
private let objectBytes = 64

/// A text; see `TemplateString` for its units.
final class Text {
  let units: [UInt32]
  /// Whether it came from `escape` or `safe`, which are then not applied to it again.
  let isEscaped: Bool
  let hasMarks: Bool
  private let meter: Meter

  init(_ units: [UInt32], isEscaped: Bool, meter: Meter) throws(TemplateError) {
    self.units = units
    self.isEscaped = isEscaped
    self.meter = meter
    hasMarks = units.reduce(0, |) & TemplateString.mark != 0
    try meter.step(units.count)
    try meter.charge(objectBytes + units.count * 4)
  }

  deinit { meter.release(objectBytes + units.count * 4) }

  /// The units without marks.
  var plain: [UInt32] { hasMarks ? units.map { $0 & ~TemplateString.mark } : units }

  var string: String { makeString(units) }

  func equals(_ other: Text) -> Bool {
    if !hasMarks, !other.hasMarks { return units == other.units }
    return units.count == other.units.count
      && zip(units, other.units).allSatisfy { ($0 ^ $1) & ~TemplateString.mark == 0 }
  }

  func isLess(than other: Text) -> Bool {
    units.lexicographicallyPrecedes(other.units) { $0 & ~TemplateString.mark < $1 & ~TemplateString.mark }
  }
}

func makeString(_ units: some Sequence<UInt32>) -> String {
  var view = String.UnicodeScalarView()
  for unit in units { view.append(Unicode.Scalar(unit & ~TemplateString.mark) ?? "\u{FFFD}") }
  return String(view)
}

/// The items of a list or a tuple.
final class Items {
  let items: [Value]
  /// How deep values are nested in it, at least 1. Is bounded, so that nothing that goes through values runs out of stack.
  let depth: Int
  /// Whether it is a tuple of `groupby`, whose items have names.
  let isGroup: Bool
  private let meter: Meter

  static let depthLimit = 100

  init(_ items: [Value], isGroup: Bool = false, meter: Meter) throws(TemplateError) {
    self.items = items
    self.isGroup = isGroup
    self.meter = meter
    try meter.work(items.count)
    depth = try Self.depth(around: items)
    try meter.charge(objectBytes + items.count * MemoryLayout<Value>.stride)
  }

  deinit { meter.release(objectBytes + items.count * MemoryLayout<Value>.stride) }

  static func depth(around values: [Value]) throws(TemplateError) -> Int {
    let depth = 1 + values.reduce(0) { max($0, $1.depth) }
    guard depth <= depthLimit else {
      throw TemplateError(.nestedTooDeep, "values are nested deeper than \(depthLimit) levels")
    }
    return depth
  }
}

extension Value {
  var depth: Int {
    switch self {
    case .list(let items), .tuple(let items): items.depth
    case .mapping(let mapping): mapping.depth
    case .view(let view): view.mapping.depth
    case .generator(let generator): generator.source.depth
    case .loop(let loop): loop.depthOfItems
    case .method(let method): method.depth
    case .cycler(let cycler): cycler.items.depth
    default: 0
    }
  }
}

/// A dictionary. Keys are in the order in which they were first inserted.
final class Mapping {
  let keys: [Value]
  let values: [Value]
  let depth: Int
  /// Only where there are too many keys to go through them.
  private let index: [Key: Int]
  private let meter: Meter

  private static let bytesOfMember = 2 * MemoryLayout<Value>.stride + 48

  init(_ members: [(key: Value, value: Value)], meter: Meter) throws(TemplateError) {
    try meter.work(members.count * 4)
    try meter.check(objectBytes + members.count * Self.bytesOfMember)
    var keys: [Value] = []
    var values: [Value] = []
    var index: [Key: Int] = [:]
    keys.reserveCapacity(members.count)
    values.reserveCapacity(members.count)
    for (key, value) in members {
      let form = try Key(key)
      try meter.work(form.cost)
      if let place = index[form] {
        values[place] = value
      } else {
        index[form] = keys.count
        keys.append(key)
        values.append(value)
      }
    }
    self.keys = keys
    self.values = values
    self.index = keys.count > 8 ? index : [:]
    self.meter = meter
    depth = max(try Items.depth(around: keys), try Items.depth(around: values))
    try meter.charge(objectBytes + keys.count * Self.bytesOfMember)
  }

  deinit { meter.release(objectBytes + keys.count * Self.bytesOfMember) }

  var count: Int { keys.count }

  /// - Throws: If the value cannot be a key, as lists cannot.
  func value(of key: Value) throws(TemplateError) -> Value? {
    let form = try Key(key)
    try meter.work(form.cost)
    return find(form)
  }

  func value(named name: String) -> Value? { find(.text(name.unicodeScalars.map(\.value))) }

  private func find(_ form: Key) -> Value? {
    if !index.isEmpty { return index[form].map { values[$0] } }
    for (place, key) in keys.enumerated() where form.matches(key) { return values[place] }
    return nil
  }
}

/// What of a value counts when it is a key.
enum Key: Hashable {
  case none
  case integer(Int)
  case float(Double)
  case text([UInt32])
  case tuple([Key])
  case object(ObjectIdentifier)
  case number(String, Int)

  init(_ value: Value) throws(TemplateError) {
    switch value {
    case .none: self = .none
    case .boolean(let value): self = .integer(value ? 1 : 0)
    case .integer(let value): self = .integer(value)
    case .float(let value): self = Int(exactly: value).map { .integer($0) } ?? .float(value)
    case .text(let text): self = .text(text.plain)
    case .tuple(let tuple):
      var keys: [Key] = []
      for item in tuple.items { keys.append(try Key(item)) }
      self = .tuple(keys)
    case .undefined: self = .number("undefined", 0)
    case .range(let range): self = .object(ObjectIdentifier(range))
    case .generator(let generator): self = .object(ObjectIdentifier(generator))
    case .loop(let loop): self = .object(ObjectIdentifier(loop))
    case .method(let method): self = .object(ObjectIdentifier(method))
    case .cycler(let cycler): self = .object(ObjectIdentifier(cycler))
    case .joiner(let joiner): self = .object(ObjectIdentifier(joiner))
    case .namespace(let number): self = .number("namespace", number)
    case .macro(let number): self = .number("macro", number)
    case .function(let function): self = .number(function.rawValue, 0)
    case .list, .mapping, .view: throw .operation("unhashable type: '\(value.typeName)'")
    }
  }

  /// Scalars and items in it.
  var cost: Int {
    switch self {
    case .text(let units): units.count
    case .tuple(let keys): keys.reduce(keys.count) { $0 + $1.cost }
    default: 1
    }
  }

  func matches(_ value: Value) -> Bool {
    if case .text(let units) = self {
      guard case .text(let text) = value, text.units.count == units.count else { return false }
      return text.hasMarks ? text.plain == units : text.units == units
    }
    return (try? Key(value)) == self
  }
}

/// `keys()`, `values()` or `items()` of a dictionary.
final class MappingView {
  enum Part: String { case keys, values, items }

  let mapping: Mapping
  let part: Part

  init(_ mapping: Mapping, _ part: Part) {
    self.mapping = mapping
    self.part = part
  }
}

final class IntegerRange {
  let start: Int
  let stop: Int
  let step: Int
  let count: Int

  /// - Parameter step: Not 0.
  init(start: Int, stop: Int, step: Int) throws(TemplateError) {
    self.start = start
    self.stop = stop
    self.step = step
    let (distance, overflows) =
      step > 0 ? stop.subtractingReportingOverflow(start) : start.subtractingReportingOverflow(stop)
    guard !overflows, step != .min else { throw .operation("a range is too long") }
    count = distance <= 0 ? 0 : (distance - 1) / abs(step) + 1
    guard count <= 100_000 else {
      throw .operation("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).")
    }
  }

  subscript(index: Int) -> Value { .integer(start + index * step) }
}

/// What filters such as `map` give: items that can be gone through once.
final class Generator {
  let source: Items
  private var position = 0

  init(_ items: Items) { source = items }

  func next() -> Value? {
    guard position < source.items.count else { return nil }
    position += 1
    return source.items[position - 1]
  }

  func rest() -> [Value] {
    defer { position = source.items.count }
    return Array(source.items[position...])
  }
}

/// A method of a value, or of a loop.
final class Method {
  let receiver: Value
  let name: String
  let depth: Int

  init(_ receiver: Value, _ name: String) throws(TemplateError) {
    self.receiver = receiver
    self.name = name
    depth = try Items.depth(around: [receiver])
  }
}

final class Cycler {
  let items: Items
  var position = 0

  init(_ items: Items) { self.items = items }
}

final class Joiner {
  let separator: Value
  var isUsed = false

  init(_ separator: Value) { self.separator = separator }
}

extension Value {
  /// The name of its type in Python.
  var typeName: String {
    switch self {
    case .undefined: "Undefined"
    case .none: "NoneType"
    case .boolean: "bool"
    case .integer: "int"
    case .float: "float"
    case .text: "str"
    case .list: "list"
    case .tuple: "tuple"
    case .mapping: "dict"
    case .view(let view): "dict_\(view.part.rawValue)"
    case .range: "range"
    case .generator: "generator"
    case .namespace: "Namespace"
    case .macro: "Macro"
    case .loop: "LoopContext"
    case .method: "builtin_function_or_method"
    case .function(let function): function == .template ? "TemplateReference" : "function"
    case .cycler: "Cycler"
    case .joiner: "Joiner"
    }
  }

  var isUndefined: Bool {
    guard case .undefined = self else { return false }
    return true
  }

  /// What Python's `bool` says.
  var isTrue: Bool {
    switch self {
    case .undefined, .none: false
    case .boolean(let value): value
    case .integer(let value): value != 0
    case .float(let value): value != 0
    case .text(let text): !text.units.isEmpty
    case .list(let items), .tuple(let items): !items.items.isEmpty
    case .mapping(let mapping): mapping.count > 0
    case .view(let view): view.mapping.count > 0
    case .range(let range): range.count > 0
    case .loop(let loop): loop.isTrue
    case .generator, .namespace, .macro, .method, .function, .cycler, .joiner: true
    }
  }
}
