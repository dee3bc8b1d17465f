extension Evaluator {
  /// Any value as a text, as most filters take it.
  private func soft(_ value: Value) throws(TemplateError) -> Text {
    if case .text(let text) = value { return text }
    return try Text(try stringUnits(value), isEscaped: false, meter: meter)
  }

  /// Filters that make texts, or nil for other names.
  func textFilter(_ name: String, _ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value? {
    switch name {
    case "capitalize", "lower", "upper", "title", "string", "striptags", "wordcount", "e", "escape", "forceescape",
      "safe":
      _ = try arguments.bound(name, [])
      return try plainFilter(name, value)
    case "trim":
      let characters = try optionalText(try arguments.bound(name, ["chars"])[0], name)
      let text = try soft(value)
      return try meter.text(Array(text.stripped(characters?.plain)), isEscaped: text.isEscaped)
    case "center":
      let width = try arguments.bound(name, ["width"])[0].map { (value) throws(TemplateError) in try integer(value) }
      return try centered(try soft(value), width: width ?? 80)
    case "replace":
      let values = try arguments.bound(name, ["old", "new", "count"], required: 2)
      var count = -1
      if let limit = values[2], !isNone(limit) { count = try integer(limit) }
      return try replace(try soft(value), try soft(values[0] ?? .none), try soft(values[1] ?? .none), count: count)
    case "format":
      guard arguments.positional.isEmpty || arguments.keywords.isEmpty else {
        throw .operation("can't handle positional and keyword arguments at the same time")
      }
      guard !arguments.keywords.isEmpty else {
        return try formatted(try soft(value), with: try meter.tuple(arguments.positional))
      }
      var members: [(key: Value, value: Value)] = []
      for (name, value) in arguments.keywords { members.append((try meter.text(name), value)) }
      return try formatted(try soft(value), with: .mapping(try Mapping(members, meter: meter)))
    case "indent": return try indent(value, arguments)
    case "truncate": return try truncate(value, arguments)
    case "wordwrap": return try wrap(value, arguments)
    case "urlencode":
      _ = try arguments.bound(name, [])
      return try urlEncode(value)
    case "xmlattr": return try xmlAttributes(value, arguments)
    default: return nil
    }
  }

  func isNone(_ value: Value) -> Bool { if case .none = value { true } else { false } }

  private func plainFilter(_ name: String, _ value: Value) throws(TemplateError) -> Value {
    let text = try soft(value)
    try meter.work(text.units.count)
    switch name {
    case "capitalize": return try meter.text(text.capitalized, isEscaped: text.isEscaped)
    case "lower": return try meter.text(text.lowercased, isEscaped: text.isEscaped)
    case "upper": return try meter.text(text.uppercased, isEscaped: text.isEscaped)
    case "title": return try titleWords(text)
    case "string": return .text(text)
    case "striptags": return try stripTags(text)
    case "safe": return try meter.text(text.units, isEscaped: true)
    case "wordcount":
      var count = 0
      var isInWord = false
      for unit in text.units {
        let isWord = isNameScalar(unit)
        if isWord, !isInWord { count += 1 }
        isInWord = isWord
      }
      return .integer(count)
    default:
      if text.isEscaped, name != "forceescape" { return .text(text) }
      var builder = TextBuilder(meter)
      try escape(text.units, into: &builder)
      return try meter.text(builder.units, isEscaped: true)
    }
  }

  func escape(_ units: [UInt32], into builder: inout TextBuilder) throws(TemplateError) {
    for unit in units {
      switch unit & ~TemplateString.mark {
      case 0x26: try builder.append("&amp;", marksOf: unit)
      case 0x3C: try builder.append("&lt;", marksOf: unit)
      case 0x3E: try builder.append("&gt;", marksOf: unit)
      case 0x27: try builder.append("&#39;", marksOf: unit)
      case 0x22: try builder.append("&#34;", marksOf: unit)
      default: try builder.append(unit)
      }
    }
  }

  /// Words begin after space, hyphens and opening brackets.
  private func titleWords(_ text: Text) throws(TemplateError) -> Value {
    func separates(_ unit: UInt32) -> Bool {
      isSpace(unit) || [0x2D, 0x28, 0x7B, 0x5B, 0x3C].contains(unit & ~TemplateString.mark)
    }
    var builder = TextBuilder(meter)
    var rest = text.units[...]
    while let first = rest.first {
      let isSeparator = separates(first)
      let part = rest.prefix { separates($0) == isSeparator }
      rest = rest[part.endIndex...]
      if isSeparator {
        try builder.append(part)
      } else {
        let head = try Text([first], isEscaped: false, meter: meter)
        let tail = try Text(Array(part.dropFirst()), isEscaped: false, meter: meter)
        try builder.append(head.uppercased)
        try builder.append(tail.lowercased)
      }
    }
    return try builder.value()
  }

  private func stripTags(_ text: Text) throws(TemplateError) -> Value {
    let all = text.units.count
    let comment: [UInt32] = [0x3C, 0x21, 0x2D, 0x2D]
    var kept = TextBuilder(meter)
    var position = 0
    while let start = try text.firstRange(of: [0x3C], in: position..<all, meter)?.lowerBound {
      let isComment = text.matches(comment, at: start)
      let from = isComment ? min(start + 4, all) : start
      guard let end = try text.firstRange(of: isComment ? [0x2D, 0x2D, 0x3E] : [0x3E], in: from..<all, meter) else {
        break
      }
      try kept.append(text.units[position..<start])
      position = end.upperBound
    }
    try kept.append(text.units[position...])
    let stripped = try Text(kept.units, isEscaped: false, meter: meter)
    var builder = TextBuilder(meter)
    for (index, word) in stripped.words(limit: -1).enumerated() {
      if index > 0 { try builder.append(0x20) }
      try builder.append(word)
    }
    return try unescape(try Text(builder.units, isEscaped: false, meter: meter))
  }

  /// Replaces the entities that `escape` makes, and those with numbers.
  private func unescape(_ text: Text) throws(TemplateError) -> Value {
    let named: [(String, UInt32)] = [
      ("&amp;", 0x26), ("&lt;", 0x3C), ("&gt;", 0x3E), ("&quot;", 0x22), ("&apos;", 0x27), ("&nbsp;", 0xA0),
    ]
    var builder = TextBuilder(meter)
    var index = 0
    while index < text.units.count {
      let unit = text.units[index]
      let mark = unit & TemplateString.mark
      index += 1
      guard unit & ~TemplateString.mark == 0x26 else {
        try builder.append(unit)
        continue
      }
      if let (name, scalar) = named.first(where: { text.matches($0.0.unicodeScalars.map(\.value), at: index - 1) }) {
        try builder.append(scalar | mark)
        index += name.utf8.count - 1
        continue
      }
      let body = text.units[index...].prefix(10)
      if let end = body.firstIndex(where: { $0 & ~TemplateString.mark == 0x3B }), body.first == 0x23 | mark {
        let digits = makeString(text.units[(index + 1)..<end])
        let isHexadecimal = digits.hasPrefix("x") || digits.hasPrefix("X")
        let code = isHexadecimal ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits)
        if let code, code > 0, Unicode.Scalar(code) != nil {
          try builder.append(code | mark)
          index = end + 1
          continue
        }
      }
      try builder.append(unit)
    }
    return try builder.value()
  }

  private func indent(_ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
    let values = try arguments.bound("indent", ["width", "first", "blank"])
    if case .undefined(let missing) = value { throw missing.error }
    guard case .text(let text) = value else {
      throw .operation("unsupported operand type(s) for +=: '\(value.typeName)' and 'str'")
    }
    var margin: [UInt32] = [0x20, 0x20, 0x20, 0x20]
    switch values[0] {
    case .text(let text): margin = text.units
    case let width?:
      var builder = TextBuilder(meter)
      try builder.append(0x20, times: try integer(width))
      margin = builder.units
    case nil: break
    }
    let first = values[1]?.isTrue ?? false
    let blank = values[2]?.isTrue ?? false
    let lines = try Text(text.units + [0x0A], isEscaped: false, meter: meter).lines()
    var builder = TextBuilder(meter)
    for (index, line) in lines.enumerated() {
      if index > 0 { try builder.append(0x0A) }
      if index == 0 ? first : blank || !line.isEmpty { try builder.append(margin) }
      try builder.append(line)
    }
    return try builder.value()
  }

  private func truncate(_ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
    let values = try arguments.bound("truncate", ["length", "killwords", "end", "leeway"])
    let length = try values[0].map { (value) throws(TemplateError) in try integer(value) } ?? 255
    let end = try values[2].map { (value) throws(TemplateError) in try requiredText(value, "truncate") }
    let tail = end?.units ?? [0x2E, 0x2E, 0x2E]
    var leeway = 5
    if let given = values[3], !isNone(given) { leeway = try integer(given) }
    guard length >= tail.count else { throw .operation("expected length >= \(tail.count), got \(length)") }
    guard leeway >= 0 else { throw .operation("expected leeway >= 0, got \(leeway)") }
    if value.isUndefined { return value }
    guard case .text(let text) = value else { throw .operation("object of type '\(value.typeName)' has no len()") }
    guard text.units.count - leeway > length else { return value }
    var head = text.units[..<min(text.units.count, length - tail.count)]
    if !(values[1]?.isTrue ?? false),
      let space = head.lastIndex(where: { $0 & ~TemplateString.mark == 0x20 })
    {
      head = head[..<space]
    }
    var builder = TextBuilder(meter)
    try builder.append(head)
    try builder.append(tail)
    return try builder.value()
  }

  private func urlEncode(_ value: Value) throws(TemplateError) -> Value {
    var builder = TextBuilder(meter)
    var pairs: [Value] = []
    switch value {
    case .mapping(let mapping): pairs = try items(of: .view(MappingView(mapping, .items)))
    case .text: try urlQuote(value, isQuery: false, into: &builder)
    default:
      if ValueIterator(value) != nil {
        pairs = try items(of: value)
      } else {
        try urlQuote(value, isQuery: false, into: &builder)
      }
    }
    for (index, pair) in pairs.enumerated() {
      let parts = try items(of: pair)
      guard parts.count == 2 else { throw .operation("not enough values to unpack (expected 2, got \(parts.count))") }
      if index > 0 { try builder.append(0x26) }
      try urlQuote(parts[0], isQuery: true, into: &builder)
      try builder.append(0x3D)
      try urlQuote(parts[1], isQuery: true, into: &builder)
    }
    return try builder.value()
  }

  private func urlQuote(_ value: Value, isQuery: Bool, into builder: inout TextBuilder) throws(TemplateError) {
    for unit in try stringUnits(value) {
      let scalar = unit & ~TemplateString.mark
      let isPlain =
        scalar < 0x80 && (isNameScalar(scalar) || [0x2D, 0x2E, 0x7E].contains(scalar)) || scalar == 0x2F && !isQuery
      if isPlain {
        try builder.append(unit)
      } else if scalar == 0x20, isQuery {
        try builder.append(0x2B | unit & TemplateString.mark)
      } else {
        for byte in makeString([scalar]).utf8 {
          let digits = String(byte, radix: 16, uppercase: true)
          try builder.append((byte < 16 ? "%0" : "%") + digits, marksOf: unit)
        }
      }
    }
  }

  private func xmlAttributes(_ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
    let hasSpace = try arguments.bound("xmlattr", ["autospace"])[0]?.isTrue ?? true
    if case .undefined(let missing) = value { throw missing.error }
    guard case .mapping(let mapping) = value else {
      throw .operation("'\(value.typeName)' object has no attribute 'items'")
    }
    var builder = TextBuilder(meter)
    for (key, value) in zip(mapping.keys, mapping.values) where !value.isUndefined && !isNone(value) {
      let key = try requiredText(key, "xmlattr")
      let isBad = key.units.contains { unit in
        let scalar = unit & ~TemplateString.mark
        return scalar < 0x80 && isSpace(scalar) && scalar < 0x21 && !(0x1C...0x1F).contains(scalar)
          || [0x2F, 0x3E, 0x3D].contains(scalar)
      }
      guard !isBad else { throw .operation("Invalid character in attribute name: '\(key.string.prefix(100))'") }
      if hasSpace || !builder.units.isEmpty { try builder.append(0x20) }
      try escape(key.units, into: &builder)
      try builder.append("=\"")
      if case .text(let text) = value, text.isEscaped {
        try builder.append(text.units)
      } else {
        try escape(try stringUnits(value), into: &builder)
      }
      try builder.append(0x22)
    }
    return try builder.value()
  }
}
