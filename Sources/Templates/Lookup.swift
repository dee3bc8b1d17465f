/// Attributes, items and slices.
extension Evaluator {
  /// `value.name`: the attribute, or else the item.
  func attribute(_ name: String, of value: Value) throws(TemplateError) -> Value {
    if case .undefined(let missing) = value { throw missing.error }
    if let found = try ownAttribute(name, of: value) { return found }
    if case .mapping(let mapping) = value, let item = mapping.value(named: name) { return item }
    return missing(name, of: value)
  }

  /// `value[key]`: the item, or else the attribute.
  func item(_ key: Value, of value: Value) throws(TemplateError) -> Value {
    switch value {
    case .undefined(let missing): throw missing.error
    case .mapping(let mapping):
      if let form = try? Key(key) {
        try meter.work(form.cost)
        if let item = try mapping.value(of: key) { return item }
      }
    case .list(let items), .tuple(let items):
      if let index = place(key, items.items.count) { return items.items[index] }
    case .text(let text):
      if let index = place(key, text.units.count) { return try meter.text([text.units[index]]) }
    case .range(let range):
      if let index = place(key, range.count) { return range[index] }
    default: break
    }
    if case .text(let text) = key {
      let name = text.string
      if let found = try ownAttribute(name, of: value) { return found }
      return missing(name, of: value)
    }
    return .undefined(Missing("'\(objectName(value))' has no element \(try description(key))"))
  }

  private func place(_ key: Value, _ count: Int) -> Int? {
    guard let index = key.integer else { return nil }
    let place = index < 0 ? index + count : index
    return (0..<count).contains(place) ? place : nil
  }

  private func objectName(_ value: Value) -> String {
    if case .none = value { return "None" }
    return "\(value.typeName) object"
  }

  private func missing(_ name: String, of value: Value) -> Value {
    .undefined(Missing("'\(objectName(value))' has no attribute '\(name)'"))
  }

  private func description(_ key: Value) throws(TemplateError) -> String {
    makeString(try representation(key).prefix(100))
  }

  /// An attribute that is no item; undefined with a fault where the sandbox forbids it.
  func ownAttribute(_ name: String, of value: Value) throws(TemplateError) -> Value? {
    if case .namespace(let number) = value {
      if let member = namespaces[number].first(where: { $0.name == name }) {
        return name.hasPrefix("_") ? forbidden(name, value) : member.value
      }
    }
    if name.hasPrefix("_") { return Methods.internals.contains(name) ? forbidden(name, value) : nil }
    switch value {
    case .text: return Methods.text.contains(name) ? .method(try Method(value, name)) : nil
    case .list:
      if Methods.changingLists.contains(name) { return forbidden(name, value) }
      return Methods.list.contains(name) ? .method(try Method(value, name)) : nil
    case .tuple(let items):
      // What `groupby` gives has names for its two items.
      if items.isGroup, name == "grouper" { return items.items[0] }
      if items.isGroup, name == "list" { return items.items[1] }
      return Methods.tuple.contains(name) ? .method(try Method(value, name)) : nil
    case .mapping:
      if Methods.changingMappings.contains(name) { return forbidden(name, value) }
      return Methods.mapping.contains(name) ? .method(try Method(value, name)) : nil
    case .integer, .boolean:
      if ["real", "numerator"].contains(name) { return .integer(value.integer ?? 0) }
      if name == "imag" { return .integer(0) }
      if name == "denominator" { return .integer(1) }
      return Methods.integer.contains(name) ? .method(try Method(value, name)) : nil
    case .float(let number):
      if name == "real" { return .float(number) }
      if name == "imag" { return .float(0) }
      return Methods.float.contains(name) ? .method(try Method(value, name)) : nil
    case .range(let range):
      switch name {
      case "start": return .integer(range.start)
      case "stop": return .integer(range.stop)
      case "step": return .integer(range.step)
      default: return nil
      }
    case .loop(let state): return try attribute(name, of: state)
    case .cycler(let cycler):
      switch name {
      case "current": return cycler.items.items[cycler.position]
      case "next", "reset": return .method(try Method(value, name))
      case "pos": return .integer(cycler.position)
      case "items": return .tuple(cycler.items)
      default: return nil
      }
    case .macro(let number):
      let macro = macros[number].macro
      switch name {
      case "name":
        return try macro.name.map { (id) throws(TemplateError) in try meter.text(self.name(id)) } ?? Value.none
      case "arguments":
        var names: [Value] = []
        for id in macro.parameters { names.append(try meter.text(self.name(id))) }
        return try meter.tuple(names)
      case "catch_kwargs": return .boolean(macro.keywords != nil)
      case "catch_varargs": return .boolean(macro.rest != nil)
      case "caller": return .boolean(macro.usesCaller)
      default: return nil
      }
    default: return nil
    }
  }

  private func forbidden(_ name: String, _ value: Value) -> Value {
    .undefined(Missing("access to attribute '\(name)' of '\(value.typeName)' object is unsafe.", .forbidden))
  }

  // MARK: Slices

  func slice(_ value: Value, _ start: Int?, _ stop: Int?, _ step: Int?) throws(TemplateError) -> Value {
    switch value {
    case .undefined(let missing): throw missing.error
    case .text(let text):
      return try meter.text(try sliced(text.units, start, stop, step, size: 4), isEscaped: text.isEscaped)
    case .list(let items):
      return try meter.list(try sliced(items.items, start, stop, step, size: MemoryLayout<Value>.stride))
    case .tuple(let items):
      return try meter.tuple(try sliced(items.items, start, stop, step, size: MemoryLayout<Value>.stride))
    case .range(let range):
      let items = try items(of: .range(range))
      // Python gives a range here; as a list it differs only in how it is printed.
      return try meter.list(try sliced(items, start, stop, step, size: MemoryLayout<Value>.stride))
    default: return noSlice(of: value)
    }
  }

  /// What Jinja2 makes of a slice that Python refuses.
  func noSlice(of value: Value) -> Value { .undefined(Missing("'\(objectName(value))' has no such slice")) }

  private func sliced<Element>(
    _ elements: [Element], _ start: Int?, _ stop: Int?, _ step: Int?, size: Int
  ) throws(TemplateError) -> [Element] {
    let step = step ?? 1
    guard step != 0 else { throw .operation("slice step cannot be zero") }
    let count = elements.count
    func clamp(_ index: Int, _ range: ClosedRange<Int>) -> Int {
      let index = index < 0 ? index + count : index
      return min(max(index, range.lowerBound), range.upperBound)
    }
    if step > 0 {
      let first = start.map { clamp($0, 0...count) } ?? 0
      let end = stop.map { clamp($0, 0...count) } ?? count
      guard first < end else { return [] }
      try meter.check((end - first) / step * size)
      if step == 1 { return Array(elements[first..<end]) }
      return Swift.stride(from: first, to: end, by: step).map { elements[$0] }
    }
    let first = start.map { clamp($0, -1...(count - 1)) } ?? count - 1
    let end = stop.map { clamp($0, -1...(count - 1)) } ?? -1
    guard first > end else { return [] }
    try meter.check((first - end) * size)
    return Swift.stride(from: first, to: end, by: max(step, -count - 1)).map { elements[$0] }
  }
}
