/// The attributes that values have in Python; those that change a value are forbidden in the sandbox.
enum Methods {
  static let text: Set<String> = [
    "capitalize", "casefold", "center", "count", "encode", "endswith", "expandtabs", "find", "format", "format_map",
    "index", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric",
    "isprintable", "isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip", "maketrans", "partition",
    "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split",
    "splitlines", "startswith", "strip", "swapcase", "title", "translate", "upper", "zfill",
  ]
  static let list: Set<String> = ["copy", "count", "index"]
  static let tuple: Set<String> = ["count", "index"]
  static let mapping: Set<String> = ["copy", "fromkeys", "get", "items", "keys", "values"]
  static let integer: Set<String> = [
    "as_integer_ratio", "bit_count", "bit_length", "conjugate", "from_bytes", "to_bytes",
  ]
  static let float: Set<String> = ["as_integer_ratio", "conjugate", "fromhex", "hex", "is_integer"]
  static let changingLists: Set<String> = [
    "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort",
  ]
  static let changingMappings: Set<String> = ["clear", "pop", "popitem", "setdefault", "update"]
  /// What every value has in Python and no template may reach.
  static let internals: Set<String> = [
    "__class__", "__delattr__", "__dir__", "__doc__", "__eq__", "__format__", "__ge__", "__getattribute__",
    "__getstate__", "__gt__", "__hash__", "__init__", "__init_subclass__", "__le__", "__lt__", "__ne__", "__new__",
    "__reduce__", "__reduce_ex__", "__repr__", "__setattr__", "__sizeof__", "__str__", "__subclasshook__",
  ]
}

/// Python's methods of strings.
extension Evaluator {
  func call(_ name: String, of text: Text, _ arguments: Arguments) throws(TemplateError) -> Value {
    try meter.work(text.units.count)
    if name.hasPrefix("is") || ["upper", "lower", "casefold", "title", "capitalize", "swapcase"].contains(name) {
      _ = try arguments.bound(name, [])
    }
    switch name {
    case "strip", "lstrip", "rstrip":
      let values = try arguments.bound(name, ["chars"])
      return try meter.text(
        text.stripped(try optionalText(values[0], name)?.plain, start: name != "rstrip", end: name != "lstrip"))
    case "upper": return try meter.text(text.uppercased)
    case "lower", "casefold": return try meter.text(text.lowercased)
    case "title": return try meter.text(text.titled)
    case "capitalize": return try meter.text(text.capitalized)
    case "swapcase": return try meter.text(text.swapped)
    case "startswith", "endswith": return .boolean(try hasAffix(text, name, arguments))
    case "split", "rsplit": return try split(text, arguments, fromEnd: name == "rsplit")
    case "splitlines":
      let values = try arguments.bound(name, ["keepends"])
      return try list(of: text.lines(keepingEnds: values[0]?.isTrue ?? false))
    case "partition", "rpartition": return try partition(text, arguments, fromEnd: name == "rpartition")
    case "find", "rfind", "index", "rindex": return try find(text, name, arguments)
    case "count": return try count(text, arguments)
    case "replace":
      let values = try arguments.bound(name, ["old", "new", "count"], required: 2)
      return try replace(
        text, try requiredText(values[0], name), try requiredText(values[1], name),
        count: try values[2].map { (value) throws(TemplateError) in try integer(value) } ?? -1)
    case "join":
      let values = try arguments.bound(name, ["iterable"], required: 1)
      return try join(try items(of: values[0] ?? .none), with: text, convert: false)
    case "format": return try format(text, arguments)
    case "format_map":
      let values = try arguments.bound(name, ["mapping"], required: 1)
      guard case .mapping(let mapping) = values[0] else { throw .operation("format_map() needs a mapping") }
      var given = Arguments()
      for (key, value) in zip(mapping.keys, mapping.values) {
        if case .text(let key) = key { given.keywords.append((key.string, value)) }
      }
      return try format(text, given)
    case "zfill", "center", "ljust", "rjust": return try pad(text, name, arguments)
    case "removeprefix":
      let prefix = try requiredText(try arguments.bound(name, ["prefix"], required: 1)[0], name).plain
      return text.matches(prefix, at: 0) ? try meter.text(text.units[prefix.count...]) : .text(text)
    case "removesuffix":
      let suffix = try requiredText(try arguments.bound(name, ["suffix"], required: 1)[0], name).plain
      let start = text.units.count - suffix.count
      return !suffix.isEmpty && text.matches(suffix, at: start) ? try meter.text(text.units[..<start]) : .text(text)
    case "expandtabs": return try expandTabs(text, arguments)
    default: return try testText(text, name, arguments)
    }
  }

  private func testText(_ text: Text, _ name: String, _ arguments: Arguments) throws(TemplateError) -> Value {
    let units = text.units
    func all(_ predicate: (UInt32) -> Bool) -> Value { .boolean(!units.isEmpty && units.allSatisfy(predicate)) }
    switch name {
    case "isdigit": return all(isDigitLike)
    case "isdecimal": return all(isDecimal)
    case "isnumeric": return all(isNumeric)
    case "isalpha": return all(isAlphabetic)
    case "isalnum": return all(isAlphanumeric)
    case "isspace": return all(isSpace)
    case "isupper": return .boolean(text.isUpper)
    case "islower": return .boolean(text.isLower)
    case "istitle": return .boolean(text.titled == units && units.contains { properties($0).isCased })
    case "isascii": return .boolean(units.allSatisfy { $0 & ~TemplateString.mark < 0x80 })
    case "isprintable": return .boolean(units.allSatisfy(isPrintable))
    case "isidentifier":
      guard let first = units.first else { return .boolean(false) }
      let isStart = properties(first).isXIDStart || first & ~TemplateString.mark == 0x5F
      return .boolean(isStart && units.allSatisfy { properties($0).isXIDContinue })
    default: throw TemplateError(.unsupported, "the method '\(name)' of str is not supported")
    }
  }

  // MARK: Arguments

  func requiredText(_ value: Value?, _ function: String) throws(TemplateError) -> Text {
    if case .text(let text) = value { return text }
    if case .undefined = value { throw .operation("\(function)() argument must be str, not Undefined") }
    throw .operation("\(function)() argument must be str, not \(value?.typeName ?? "NoneType")")
  }

  func optionalText(_ value: Value?, _ function: String) throws(TemplateError) -> Text? {
    switch value {
    case nil, .some(.none): return nil
    default: return try requiredText(value, function)
    }
  }

  /// What Python accepts where it needs an integer.
  func integer(_ value: Value) throws(TemplateError) -> Int {
    guard let integer = value.integer else {
      throw .operation("'\(value.typeName)' object cannot be interpreted as an integer")
    }
    return integer
  }

  func list(of slices: [ArraySlice<UInt32>]) throws(TemplateError) -> Value {
    var values: [Value] = []
    values.reserveCapacity(slices.count)
    for slice in slices { values.append(try meter.text(slice)) }
    return try meter.list(values)
  }

  // MARK: Methods

  private func hasAffix(_ text: Text, _ name: String, _ arguments: Arguments) throws(TemplateError) -> Bool {
    let values = try arguments.bound(name, ["affix", "start", "end"], required: 1)
    let bounds = try sliceBounds(values[1], values[2], count: text.units.count)
    func holds(_ affix: [UInt32]) -> Bool {
      guard affix.count <= bounds.count else { return false }
      return text.matches(affix, at: name == "startswith" ? bounds.lowerBound : bounds.upperBound - affix.count)
    }
    switch values[0] {
    case .text(let affix): return holds(affix.plain)
    case .tuple(let affixes):
      for affix in affixes.items {
        let affix = try requiredText(affix, name)
        try meter.step(affix.units.count)
        if holds(affix.plain) { return true }
      }
      return false
    default:
      throw .operation("\(name) first arg must be str or a tuple of str, not \((values[0] ?? .none).typeName)")
    }
  }

  private func split(_ text: Text, _ arguments: Arguments, fromEnd: Bool) throws(TemplateError) -> Value {
    let values = try arguments.bound(fromEnd ? "rsplit" : "split", ["sep", "maxsplit"])
    let limit = try values[1].map { (value) throws(TemplateError) in try integer(value) } ?? -1
    guard let separator = try optionalText(values[0], "split")?.plain else {
      return try list(of: fromEnd ? text.lastWords(limit: limit) : text.words(limit: limit))
    }
    guard !separator.isEmpty else { throw .operation("empty separator") }
    var parts: [ArraySlice<UInt32>] = []
    var range = 0..<text.units.count
    while limit < 0 || parts.count < limit {
      try meter.check(parts.count * 32)
      if fromEnd {
        guard let found = try text.lastRange(of: separator, in: range, meter) else { break }
        parts.append(text.units[found.upperBound..<range.upperBound])
        range = 0..<found.lowerBound
      } else {
        guard let found = try text.firstRange(of: separator, in: range, meter) else { break }
        parts.append(text.units[range.lowerBound..<found.lowerBound])
        range = found.upperBound..<range.upperBound
      }
    }
    parts.append(text.units[range])
    return try list(of: fromEnd ? parts.reversed() : parts)
  }

  private func partition(_ text: Text, _ arguments: Arguments, fromEnd: Bool) throws(TemplateError) -> Value {
    let values = try arguments.bound("partition", ["sep"], required: 1)
    let separator = try requiredText(values[0], "partition")
    guard !separator.units.isEmpty else { throw .operation("empty separator") }
    let all = 0..<text.units.count
    let found =
      fromEnd
      ? try text.lastRange(of: separator.plain, in: all, meter)
      : try text.firstRange(of: separator.plain, in: all, meter)
    let empty = try meter.text([])
    guard let found else {
      return try meter.tuple(fromEnd ? [empty, empty, .text(text)] : [.text(text), empty, empty])
    }
    return try meter.tuple([
      try meter.text(text.units[..<found.lowerBound]), .text(separator),
      try meter.text(text.units[found.upperBound...]),
    ])
  }

  private func find(_ text: Text, _ name: String, _ arguments: Arguments) throws(TemplateError) -> Value {
    let values = try arguments.bound(name, ["sub", "start", "end"], required: 1)
    let part = try requiredText(values[0], name).plain
    let bounds = try sliceBounds(values[1], values[2], count: text.units.count)
    let found =
      name.hasPrefix("r")
      ? try text.lastRange(of: part, in: bounds, meter) : try text.firstRange(of: part, in: bounds, meter)
    if let found { return .integer(found.lowerBound) }
    guard name.hasSuffix("find") else { throw .operation("substring not found") }
    return .integer(-1)
  }

  private func count(_ text: Text, _ arguments: Arguments) throws(TemplateError) -> Value {
    let values = try arguments.bound("count", ["sub", "start", "end"], required: 1)
    let part = try requiredText(values[0], "count").plain
    var range = try sliceBounds(values[1], values[2], count: text.units.count)
    guard !part.isEmpty else { return .integer(range.count + 1) }
    var count = 0
    while let found = try text.firstRange(of: part, in: range, meter) {
      count += 1
      range = found.upperBound..<range.upperBound
    }
    return .integer(count)
  }

  func replace(_ text: Text, _ old: Text, _ new: Text, count: Int) throws(TemplateError) -> Value {
    var builder = TextBuilder(meter)
    let part = old.plain
    var done = 0
    if part.isEmpty {
      for (index, unit) in text.units.enumerated() {
        guard count < 0 || done < count else {
          try builder.append(text.units[index...])
          return try builder.value()
        }
        try builder.append(new.units)
        try builder.append(unit)
        done += 1
      }
      if count < 0 || done < count { try builder.append(new.units) }
      return try builder.value()
    }
    var start = 0
    while count < 0 || done < count,
      let found = try text.firstRange(of: part, in: start..<text.units.count, meter)
    {
      try builder.append(text.units[start..<found.lowerBound])
      try builder.append(new.units)
      start = found.upperBound
      done += 1
    }
    try builder.append(text.units[start...])
    return try builder.value()
  }

  func join(_ items: [Value], with separator: Text, convert: Bool) throws(TemplateError) -> Value {
    var builder = TextBuilder(meter)
    for (index, item) in items.enumerated() {
      if index > 0 { try builder.append(separator.units) }
      if convert {
        try builder.append(try stringUnits(item))
      } else {
        guard case .text(let text) = item else {
          throw .operation("sequence item \(index): expected str instance, \(item.typeName) found")
        }
        try builder.append(text.units)
      }
    }
    return try builder.value()
  }

  private func pad(_ text: Text, _ name: String, _ arguments: Arguments) throws(TemplateError) -> Value {
    let values = try arguments.bound(name, name == "zfill" ? ["width"] : ["width", "fillchar"], required: 1)
    let width = try integer(values[0] ?? .none)
    var fill: UInt32 = name == "zfill" ? 0x30 : 0x20
    if values.count > 1, let character = values[1] {
      let character = try requiredText(character, name)
      guard character.units.count == 1 else {
        throw .operation("The fill character must be exactly one character long")
      }
      fill = character.units[0]
    }
    let missing = width - min(width, text.units.count)
    guard missing > 0 else { return .text(text) }
    switch name {
    case "zfill":
      var builder = TextBuilder(meter)
      let hasSign = text.units.first.map { [0x2B, 0x2D].contains($0 & ~TemplateString.mark) } ?? false
      if hasSign { try builder.append(text.units[0]) }
      try builder.append(fill, times: missing)
      try builder.append(text.units[(hasSign ? 1 : 0)...])
      return try builder.value()
    case "center": return try centered(text, width: width, fill: fill)
    default:
      var builder = TextBuilder(meter)
      if name == "rjust" { try builder.append(fill, times: missing) }
      try builder.append(text.units)
      if name == "ljust" { try builder.append(fill, times: missing) }
      return try builder.value()
    }
  }

  func centered(_ text: Text, width: Int, fill: UInt32 = 0x20) throws(TemplateError) -> Value {
    let missing = width - min(width, text.units.count)
    guard missing > 0 else { return .text(text) }
    // As CPython rounds: an odd one goes to the left only if the width is odd.
    let left = missing / 2 + (missing & width & 1)
    var builder = TextBuilder(meter)
    try builder.append(fill, times: left)
    try builder.append(text.units)
    try builder.append(fill, times: missing - left)
    return try builder.value()
  }

  private func expandTabs(_ text: Text, _ arguments: Arguments) throws(TemplateError) -> Value {
    let values = try arguments.bound("expandtabs", ["tabsize"])
    let size = try values[0].map { (value) throws(TemplateError) in try integer(value) } ?? 8
    var builder = TextBuilder(meter)
    var column = 0
    for unit in text.units {
      switch unit & ~TemplateString.mark {
      case 0x09:
        let count = size > 0 ? size - column % size : 0
        try builder.append(0x20 | unit & TemplateString.mark, times: count)
        column += count
      case 0x0A, 0x0D:
        column = 0
        try builder.append(unit)
      default:
        column += 1
        try builder.append(unit)
      }
    }
    return try builder.value()
  }
}
