/// The variables of one frame while it runs.
final class Frame {
  let layout: FrameLayout
  let around: Frame?
  /// Nil where nothing was assigned yet.
  var values: [Value?]
  private let meter: Meter

  init(_ layout: FrameLayout, around: Frame?, meter: Meter) throws(TemplateError) {
    self.layout = layout
    self.around = around
    self.meter = meter
    values = Array(repeating: nil, count: layout.names.count)
    try meter.step(values.count)
    try meter.charge(Self.bytes(values.count))
  }

  deinit { meter.release(Self.bytes(values.count)) }

  private static func bytes(_ count: Int) -> Int { 96 + count * MemoryLayout<Value?>.stride }
}

/// A macro, with the frame in which it was defined.
struct MacroInstance {
  let macro: Macro
  let frame: Frame
}

/// Renders one template once.
final class Evaluator {
  private let template: Template
  private let variables: [String: TemplateValue]
  let now: TemplateDate?
  let meter: Meter
  /// What was rendered so far, or of the block that is captured.
  private(set) var output: [UInt32] = []
  /// Scalars in all outputs that are not finished.
  private var outputCount = 0
  /// The line of the statement that runs.
  var line = 1
  private var depth = 0
  private var known: [Value?]
  var namespaces: [[(name: String, value: Value)]] = []
  var macros: [MacroInstance] = []

  init(_ template: Template, variables: [String: TemplateValue], now: TemplateDate?, limits: TemplateLimits) {
    self.template = template
    self.variables = variables
    self.now = now
    meter = Meter(limits)
    known = Array(repeating: nil, count: template.names.count)
  }

  func render() throws(TemplateError) -> [UInt32] {
    let frame = try enter(0, in: nil)
    _ = try execute(template.body, frame)
    return output
  }

  /// Runs what may contain itself.
  func nested<Result>(_ body: () throws(TemplateError) -> Result) throws(TemplateError) -> Result {
    try meter.step()
    depth += 1
    defer { depth -= 1 }
    guard depth <= meter.limits.depth else {
      throw TemplateError(.nestedTooDeep, "evaluations are nested deeper than \(meter.limits.depth)")
    }
    return try body()
  }

  func name(_ id: NameID) -> String { template.names[id] }

  // MARK: Output

  func write(_ units: [UInt32]) throws(TemplateError) {
    try meter.step(units.count)
    guard units.count <= meter.limits.outputScalars - outputCount else {
      throw TemplateError(.outputTooLong, "the text is longer than \(meter.limits.outputScalars) characters")
    }
    try meter.charge(units.count * 4)
    outputCount += units.count
    output += units
  }

  /// What a body writes.
  func captured(_ body: () throws(TemplateError) -> Void) throws(TemplateError) -> [UInt32] {
    var outer: [UInt32] = []
    swap(&outer, &output)
    defer {
      meter.release(output.count * 4)
      outputCount -= output.count
      output = outer
    }
    try body()
    return output
  }

  // MARK: Frames

  func enter(_ id: FrameID, in around: Frame?) throws(TemplateError) -> Frame {
    let layout = template.frames[id]
    let frame = try Frame(layout, around: around, meter: meter)
    for (slot, start) in layout.starts.enumerated() {
      switch start {
      case .parameter, .missing: break
      case .outer: frame.values[slot] = try variable(layout.names[slot], around)
      case .resolved: frame.values[slot] = try resolve(layout.names[slot])
      }
    }
    return frame
  }

  /// The value of a name, or nil if it has none.
  func variable(_ name: NameID, _ frame: Frame?) throws(TemplateError) -> Value? {
    var frame = frame
    while let current = frame {
      if let slot = current.layout.slot(of: name) { return current.values[slot] }
      frame = current.around
    }
    return try resolve(name)
  }

  func store(_ value: Value, _ name: NameID, _ frame: Frame) {
    if let slot = frame.layout.slot(of: name) { frame.values[slot] = value }
  }

  /// What the caller or the language gives a name.
  private func resolve(_ id: NameID) throws(TemplateError) -> Value? {
    if let value = known[id] { return value }
    let name = template.names[id]
    var value: Value?
    if name == Function.template.rawValue {
      value = .function(.template)
    } else if let given = variables[name] {
      value = try convert(given, depth: 1)
    } else if let function = Function(rawValue: name), function != .now || now != nil {
      value = .function(function)
    }
    known[id] = value
    return value
  }

  private func convert(_ value: TemplateValue, depth: Int) throws(TemplateError) -> Value {
    guard depth <= Items.depthLimit else {
      throw TemplateError(.nestedTooDeep, "the variables are nested deeper than \(Items.depthLimit) levels")
    }
    switch value {
    case .none: return .none
    case .boolean(let value): return .boolean(value)
    case .integer(let value): return .integer(value)
    case .float(let value): return .float(value)
    case .string(let string): return try meter.text(string.units)
    case .array(let values):
      try meter.check(values.count * MemoryLayout<Value>.stride)
      var items: [Value] = []
      items.reserveCapacity(values.count)
      for value in values { items.append(try convert(value, depth: depth + 1)) }
      return try meter.list(items)
    case .object(let members, let keysAreMarked):
      try meter.check(members.count * 2 * MemoryLayout<Value>.stride)
      var converted: [(key: Value, value: Value)] = []
      converted.reserveCapacity(members.count)
      for (key, value) in members {
        let key = try meter.text(TemplateString(key, isMarked: keysAreMarked).units)
        converted.append((key, try convert(value, depth: depth + 1)))
      }
      return .mapping(try Mapping(converted, meter: meter))
    }
  }
}
