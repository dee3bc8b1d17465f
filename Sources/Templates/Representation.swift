/// How values are written: `str`, `repr` and JSON.
extension Evaluator {
  /// What Python's `str` gives.
  func stringUnits(_ value: Value) throws(TemplateError) -> [UInt32] {
    switch value {
    case .text(let text): return text.units
    case .undefined: return []
    default: return try representation(value)
    }
  }

  func representation(_ value: Value) throws(TemplateError) -> [UInt32] {
    var builder = TextBuilder(meter)
    try represent(value, into: &builder, depth: 0)
    return builder.units
  }

  private func represent(_ value: Value, into builder: inout TextBuilder, depth: Int) throws(TemplateError) {
    try meter.step()
    // Values are bounded in depth, but a namespace can contain itself.
    guard depth <= Items.depthLimit else {
      throw TemplateError(.nestedTooDeep, "values are nested deeper than \(Items.depthLimit) levels")
    }
    switch value {
    case .undefined: try builder.append("Undefined")
    case .none: try builder.append("None")
    case .boolean(let value): try builder.append(value ? "True" : "False")
    case .integer(let value): try builder.append(String(value))
    case .float(let value): try builder.append(FloatFormatting.representation(value))
    case .text(let text): try quote(text.units, into: &builder)
    case .list(let items): try represent(items.items, "[", "]", into: &builder, depth: depth)
    case .tuple(let items):
      try represent(items.items, "(", items.items.count == 1 ? ",)" : ")", into: &builder, depth: depth)
    case .mapping(let mapping): try represent(mapping.keys, mapping.values, into: &builder, depth: depth)
    case .view(let view):
      try builder.append("dict_\(view.part.rawValue)(")
      switch view.part {
      case .keys: try represent(view.mapping.keys, "[", "]", into: &builder, depth: depth)
      case .values: try represent(view.mapping.values, "[", "]", into: &builder, depth: depth)
      case .items: try represent(try items(of: value), "[", "]", into: &builder, depth: depth)
      }
      try builder.append(")")
    case .range(let range):
      try builder.append("range(\(range.start), \(range.stop)\(range.step == 1 ? "" : ", \(range.step)"))")
    case .generator: try builder.append("<generator object>")
    case .namespace(let number):
      var names: [Value] = []
      for member in namespaces[number] { names.append(try meter.text(member.name)) }
      try builder.append("<Namespace ")
      try represent(names, namespaces[number].map(\.value), into: &builder, depth: depth)
      try builder.append(">")
    case .macro(let number):
      guard let id = macros[number].macro.name else { return try builder.append("<Macro anonymous>") }
      try builder.append("<Macro '\(name(id))'>")
    case .loop(let state):
      let length = try attribute("length", of: state)?.integer ?? 0
      try builder.append("<LoopContext \(state.index0 + 1)/\(length)>")
    case .method(let method):
      try builder.append("<built-in method \(method.name) of \(method.receiver.typeName) object>")
    case .function(.template): try builder.append("<TemplateReference None>")
    case .function(let function): try builder.append("<function \(function.rawValue)>")
    case .cycler: try builder.append("<Cycler object>")
    case .joiner: try builder.append("<Joiner object>")
    }
  }

  private func represent(
    _ items: [Value], _ open: String, _ close: String, into builder: inout TextBuilder, depth: Int
  ) throws(TemplateError) {
    try builder.append(open)
    for (index, item) in items.enumerated() {
      if index > 0 { try builder.append(", ") }
      try represent(item, into: &builder, depth: depth + 1)
    }
    try builder.append(close)
  }

  private func represent(
    _ keys: [Value], _ values: [Value], into builder: inout TextBuilder, depth: Int
  ) throws(TemplateError) {
    try builder.append("{")
    for (index, (key, value)) in zip(keys, values).enumerated() {
      if index > 0 { try builder.append(", ") }
      try represent(key, into: &builder, depth: depth + 1)
      try builder.append(": ")
      try represent(value, into: &builder, depth: depth + 1)
    }
    try builder.append("}")
  }

  /// A string as Python writes it in a program.
  private func quote(_ units: [UInt32], into builder: inout TextBuilder) throws(TemplateError) {
    let plain = units.lazy.map { $0 & ~TemplateString.mark }
    let quote: UInt32 = plain.contains(0x27) && !plain.contains(0x22) ? 0x22 : 0x27
    try builder.append(quote)
    for unit in units {
      let scalar = unit & ~TemplateString.mark
      switch scalar {
      case 0x5C: try builder.append("\\\\", marksOf: unit)
      case quote: try builder.append("\\'", marksOf: unit)
      case 0x0A: try builder.append("\\n", marksOf: unit)
      case 0x0D: try builder.append("\\r", marksOf: unit)
      case 0x09: try builder.append("\\t", marksOf: unit)
      case _ where isPrintable(scalar): try builder.append(unit)
      case ..<0x100: try builder.append("\\x" + hexadecimal(scalar, 2), marksOf: unit)
      case ..<0x10000: try builder.append("\\u" + hexadecimal(scalar, 4), marksOf: unit)
      default: try builder.append("\\U" + hexadecimal(scalar, 8), marksOf: unit)
      }
    }
    try builder.append(quote)
  }

  private func hexadecimal(_ value: UInt32, _ width: Int) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: width - digits.utf8.count) + digits
  }

  // MARK: JSON

  struct JSONStyle {
    var escapesNonASCII = false
    /// What a level is indented by; without it, everything is on one line.
    var indentation: [UInt32]?
    var itemSeparator: [UInt32]
    var keySeparator: [UInt32]
    var sortsKeys = false
  }

  /// What Python's `json.dumps` gives.
  func json(_ value: Value, _ style: JSONStyle) throws(TemplateError) -> [UInt32] {
    var builder = TextBuilder(meter)
    try write(value, style, into: &builder, depth: 0)
    return builder.units
  }

  private func write(
    _ value: Value, _ style: JSONStyle, into builder: inout TextBuilder, depth: Int
  ) throws(TemplateError) {
    try meter.step()
    switch value {
    case .none: try builder.append("null")
    case .boolean(let value): try builder.append(value ? "true" : "false")
    case .integer(let value): try builder.append(String(value))
    case .float(let value): try builder.append(jsonNumber(value))
    case .text(let text): try writeString(text.units, style, into: &builder)
    case .list(let items), .tuple(let items):
      guard !items.items.isEmpty else { return try builder.append("[]") }
      try builder.append("[")
      for (index, item) in items.items.enumerated() {
        try writeSeparator(index, style, into: &builder, depth: depth + 1)
        try write(item, style, into: &builder, depth: depth + 1)
      }
      try writeLineEnd(style, into: &builder, depth: depth)
      try builder.append("]")
    case .mapping(let mapping): try write(mapping, style, into: &builder, depth: depth)
    default: throw .operation("Object of type \(value.typeName) is not JSON serializable")
    }
  }

  private func write(
    _ mapping: Mapping, _ style: JSONStyle, into builder: inout TextBuilder, depth: Int
  ) throws(TemplateError) {
    guard mapping.count > 0 else { return try builder.append("{}") }
    var order = Array(mapping.keys.indices)
    if style.sortsKeys {
      order = try sorted(
        order.map { .integer($0) },
        by: { (a, b) throws(TemplateError) in
          try isLess(mapping.keys[a.integer ?? 0], mapping.keys[b.integer ?? 0])
        }
      ).map { $0.integer ?? 0 }
    }
    try builder.append("{")
    for (position, index) in order.enumerated() {
      try writeSeparator(position, style, into: &builder, depth: depth + 1)
      switch mapping.keys[index] {
      case .text(let text): try writeString(text.units, style, into: &builder)
      case .none: try builder.append("\"null\"")
      case .boolean(let value): try builder.append(value ? "\"true\"" : "\"false\"")
      case .integer(let value): try builder.append("\"\(value)\"")
      case .float(let value): try builder.append("\"\(jsonNumber(value))\"")
      default:
        throw .operation(
          "keys must be str, int, float, bool or None, not \(mapping.keys[index].typeName)")
      }
      try builder.append(style.keySeparator)
      try write(mapping.values[index], style, into: &builder, depth: depth + 1)
    }
    try writeLineEnd(style, into: &builder, depth: depth)
    try builder.append("}")
  }

  private func jsonNumber(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Infinity" : "Infinity" }
    return FloatFormatting.representation(value)
  }

  private func writeSeparator(
    _ index: Int, _ style: JSONStyle, into builder: inout TextBuilder, depth: Int
  ) throws(TemplateError) {
    if index > 0 { try builder.append(style.itemSeparator) }
    try writeLineEnd(style, into: &builder, depth: depth)
  }

  private func writeLineEnd(_ style: JSONStyle, into builder: inout TextBuilder, depth: Int) throws(TemplateError) {
    guard let indentation = style.indentation else { return }
    try builder.append(0x0A)
    for _ in 0..<depth { try builder.append(indentation) }
  }

  private func writeString(_ units: [UInt32], _ style: JSONStyle, into builder: inout TextBuilder) throws(TemplateError)
  {
    try builder.append(0x22)
    for unit in units {
      let scalar = unit & ~TemplateString.mark
      switch scalar {
      case 0x22: try builder.append("\\\"", marksOf: unit)
      case 0x5C: try builder.append("\\\\", marksOf: unit)
      case 0x08: try builder.append("\\b", marksOf: unit)
      case 0x09: try builder.append("\\t", marksOf: unit)
      case 0x0A: try builder.append("\\n", marksOf: unit)
      case 0x0C: try builder.append("\\f", marksOf: unit)
      case 0x0D: try builder.append("\\r", marksOf: unit)
      case ..<0x20: try builder.append("\\u" + hexadecimal(scalar, 4), marksOf: unit)
      case 0x7F... where style.escapesNonASCII:
        for half in String(makeString([scalar])).utf16 {
          try builder.append("\\u" + hexadecimal(UInt32(half), 4), marksOf: unit)
        }
      default: try builder.append(unit)
      }
    }
    try builder.append(0x22)
  }
}
