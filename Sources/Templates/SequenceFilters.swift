extension Evaluator {
  /// Filters of sequences and dictionaries, or nil for other names.
  func sequenceFilter(_ name: String, _ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value? {
    switch name {
    case "count", "length":
      _ = try arguments.bound(name, [])
      return .integer(try length(of: value))
    case "first":
      _ = try arguments.bound(name, [])
      return try iterate(value).next(self) ?? .undefined(Missing("No first item, sequence was empty."))
    case "last":
      _ = try arguments.bound(name, [])
      if case .generator = value { throw .operation("'generator' object is not reversible") }
      if case .text(let text) = value, let last = text.units.last { return try meter.text([last]) }
      return try items(of: value).last ?? .undefined(Missing("No last item, sequence was empty."))
    case "list":
      _ = try arguments.bound(name, [])
      return try meter.list(try items(of: value))
    case "items":
      _ = try arguments.bound(name, [])
      if value.isUndefined { return try meter.generator([]) }
      guard case .mapping(let mapping) = value else { throw .operation("Can only get item pairs from a mapping.") }
      return try meter.generator(try items(of: .view(MappingView(mapping, .items))))
    case "join":
      let values = try arguments.bound(name, ["d", "attribute"])
      let separator = try Text(
        try values[0].map { (value) throws(TemplateError) in try stringUnits(value) } ?? [], isEscaped: false,
        meter: meter)
      var parts = try items(of: value)
      if let attribute = given(values[1]) {
        parts = try parts.mapped { (part) throws(TemplateError) in try path(attribute, of: part) }
      }
      return try join(parts, with: separator, convert: true)
    case "reverse":
      _ = try arguments.bound(name, [])
      if case .text(let text) = value { return try meter.text(text.units.reversed()) }
      let reversed = Array(try items(of: value).reversed())
      if case .generator = value { return try meter.list(reversed) }
      return try meter.generator(reversed)
    case "map": return try map(value, arguments)
    case "select", "reject", "selectattr", "rejectattr": return try select(name, value, arguments)
    case "sort", "min", "max", "unique", "groupby", "sum", "dictsort": return try keyedFilter(name, value, arguments)
    case "batch", "slice": return try chunks(name, value, arguments)
    default: return nil
    }
  }

  /// Python's `len`.
  func length(of value: Value) throws(TemplateError) -> Int {
    if case .loop(let state) = value { return try attribute("length", of: state)?.integer ?? 0 }
    guard let count = ValueIterator(value)?.count else {
      throw .operation("object of type '\(value.typeName)' has no len()")
    }
    return count
  }

  /// An optional argument; none counts as not given.
  private func given(_ value: Value?) -> Value? {
    guard let value, !isNone(value) else { return nil }
    return value
  }

  /// The item at a path such as `address.city` or `0`.
  private func path(_ path: Value, of value: Value, default standard: Value? = nil) throws(TemplateError) -> Value {
    var value = value
    guard case .text(let text) = path else {
      value = try item(path, of: value)
      return value.isUndefined ? standard ?? value : value
    }
    for part in text.plain.split(separator: 0x2E, omittingEmptySubsequences: false) {
      let name = makeString(part)
      let isNumber = !part.isEmpty && part.allSatisfy(isDigit)
      let key: Value
      if isNumber, let number = Int(name) { key = .integer(number) } else { key = try meter.text(name) }
      value = try item(key, of: value)
      if value.isUndefined, let standard { value = standard }
    }
    return value
  }

  private func map(_ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
    guard value.isTrue else { return try meter.generator([]) }
    var results: [Value] = []
    if arguments.positional.isEmpty, arguments.keywords.contains(where: { $0.name == "attribute" }) {
      let values = try arguments.bound("map", ["attribute", "default"])
      for part in try items(of: value) {
        try meter.check(results.count * MemoryLayout<Value>.stride)
        guard let attribute = given(values[0]) else {
          results.append(part)
          continue
        }
        results.append(try path(attribute, of: part, default: given(values[1])))
      }
      return try meter.generator(results)
    }
    guard let first = arguments.positional.first else { throw .operation("map requires a filter argument") }
    let name = try requiredText(first, "map").string
    let rest = Arguments(positional: Array(arguments.positional.dropFirst()), keywords: arguments.keywords)
    for part in try items(of: value) {
      try meter.check(results.count * MemoryLayout<Value>.stride)
      results.append(try filter(name, part, rest))
    }
    return try meter.generator(results)
  }

  private func select(_ name: String, _ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
    guard value.isTrue else { return try meter.generator([]) }
    var rest = arguments
    var attribute: Value?
    if name.hasSuffix("attr") {
      guard let first = rest.positional.first else { throw .operation("Missing parameter for attribute name") }
      attribute = first
      rest.positional.removeFirst()
    }
    var test: String?
    if let first = rest.positional.first {
      test = try requiredText(first, name).string
      rest.positional.removeFirst()
    }
    let wanted = name.hasPrefix("select")
    var results: [Value] = []
    for part in try items(of: value) {
      try meter.step()
      try meter.check(results.count * MemoryLayout<Value>.stride)
      let subject = try attribute.map { (attribute) throws(TemplateError) in try path(attribute, of: part) } ?? part
      let holds = try test.map { (test) throws(TemplateError) in try self.test(test, subject, rest) } ?? subject.isTrue
      if holds == wanted { results.append(part) }
    }
    return try meter.generator(results)
  }

  // MARK: Order

  /// Sorts, keeping the order of what is equal.
  func sorted(
    _ values: [Value], by isLess: (Value, Value) throws(TemplateError) -> Bool
  ) throws(TemplateError) -> [Value] {
    try meter.check(values.count * 2 * MemoryLayout<Value>.stride)
    var source = values
    var width = 1
    while width < source.count {
      var target: [Value] = []
      target.reserveCapacity(source.count)
      for start in stride(from: 0, to: source.count, by: 2 * width) {
        var left = start
        var right = min(start + width, source.count)
        let (middle, end) = (right, min(start + 2 * width, source.count))
        while left < middle || right < end {
          var takesRight = left == middle
          if !takesRight, right < end { takesRight = try isLess(source[right], source[left]) }
          target.append(source[takesRight ? right : left])
          if takesRight { right += 1 } else { left += 1 }
        }
      }
      try meter.work(source.count)
      source = target
      width *= 2
    }
    return source
  }

  /// Values with the keys by which they are sorted, as tuples.
  private func keyed(
    _ values: [Value], _ isReversed: Bool, key: (Value) throws(TemplateError) -> Value
  ) throws(TemplateError) -> [Value] {
    var pairs: [Value] = []
    for value in values { pairs.append(try meter.tuple([try key(value), value])) }
    if isReversed { pairs.reverse() }
    pairs = try sorted(pairs) { (a, b) throws(TemplateError) in try isLess(first(a), first(b)) }
    if isReversed { pairs.reverse() }
    return pairs
  }

  private func first(_ pair: Value) -> Value { if case .tuple(let items) = pair { items.items[0] } else { pair } }

  private func second(_ pair: Value) -> Value { if case .tuple(let items) = pair { items.items[1] } else { pair } }

  private func folded(_ value: Value, _ isSensitive: Bool) throws(TemplateError) -> Value {
    guard !isSensitive, case .text(let text) = value else { return value }
    return try meter.text(text.lowercased)
  }

  private func keyedFilter(
    _ name: String, _ value: Value, _ arguments: Arguments
  ) throws(TemplateError) -> Value {
    switch name {
    case "sort":
      let values = try arguments.bound(name, ["reverse", "case_sensitive", "attribute"])
      let isSensitive = values[1]?.isTrue ?? false
      let paths = try sortPaths(given(values[2]))
      let pairs = try keyed(try items(of: value), values[0]?.isTrue ?? false) { (item) throws(TemplateError) in
        var keys: [Value] = []
        for path in paths {
          keys.append(
            try folded(
              try path.map { (path) throws(TemplateError) in try self.path(path, of: item) } ?? item, isSensitive))
        }
        return try meter.list(keys)
      }
      return try meter.list(pairs.map(second))
    case "min", "max":
      let values = try arguments.bound(name, ["case_sensitive", "attribute"])
      return try extreme(value, isMaximum: name == "max", values[0]?.isTrue ?? false, given(values[1]))
    case "unique":
      let values = try arguments.bound(name, ["case_sensitive", "attribute"])
      var seen: Set<Key> = []
      var results: [Value] = []
      for item in try items(of: value) {
        let key = try Key(try key(item, values[0]?.isTrue ?? false, given(values[1])))
        try meter.work(key.cost)
        if seen.insert(key).inserted { results.append(item) }
      }
      return try meter.generator(results)
    case "sum":
      let values = try arguments.bound(name, ["attribute", "start"])
      var total = values[1] ?? .integer(0)
      if case .text = total { throw .operation("sum() can't sum strings [use ''.join(seq) instead]") }
      for item in try items(of: value) { total = try apply(.add, total, try key(item, true, given(values[0]))) }
      return total
    case "dictsort":
      let values = try arguments.bound(name, ["case_sensitive", "by", "reverse"])
      let by = try values[1].map { (value) throws(TemplateError) in try requiredText(value, name).string } ?? "key"
      guard by == "key" || by == "value" else {
        throw .operation("You can only sort by either \"key\" or \"value\"")
      }
      if case .undefined(let missing) = value { throw missing.error }
      guard case .mapping(let mapping) = value else {
        throw .operation("'\(value.typeName)' object has no attribute 'items'")
      }
      let members = try items(of: .view(MappingView(mapping, .items)))
      let isSensitive = values[0]?.isTrue ?? false
      let pairs = try keyed(members, values[2]?.isTrue ?? false) { (member) throws(TemplateError) in
        try folded(by == "key" ? first(member) : second(member), isSensitive)
      }
      return try meter.list(pairs.map(second))
    default: return try groupBy(value, arguments)
    }
  }

  /// By what `sort` sorts: paths with commas between them, or the items themselves.
  private func sortPaths(_ attribute: Value?) throws(TemplateError) -> [Value?] {
    guard case .text(let text) = attribute else { return [attribute] }
    var paths: [Value?] = []
    for part in text.units.split(separator: 0x2C, omittingEmptySubsequences: false) {
      paths.append(try meter.text(part))
    }
    return paths
  }

  private func key(_ item: Value, _ isSensitive: Bool, _ attribute: Value?) throws(TemplateError) -> Value {
    guard let attribute else { return try folded(item, isSensitive) }
    return try folded(try path(attribute, of: item), isSensitive)
  }

  private func extreme(
    _ value: Value, isMaximum: Bool, _ isSensitive: Bool, _ attribute: Value?
  ) throws(TemplateError) -> Value {
    var best: (item: Value, key: Value)?
    for item in try items(of: value) {
      let key = try key(item, isSensitive, attribute)
      guard let current = best else {
        best = (item, key)
        continue
      }
      if try isMaximum ? isLess(current.key, key, ">", isSwapped: true) : isLess(key, current.key) {
        best = (item, key)
      }
    }
    return best?.item ?? .undefined(Missing("No aggregated item, sequence was empty."))
  }

  private func groupBy(_ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
    let values = try arguments.bound("groupby", ["attribute", "default", "case_sensitive"], required: 1)
    let isSensitive = values[2]?.isTrue ?? false
    func plainKey(_ item: Value) throws(TemplateError) -> Value {
      try given(values[0]).map { (attribute) throws(TemplateError) in
        try path(attribute, of: item, default: given(values[1]))
      } ?? item
    }
    let pairs = try keyed(try items(of: value), false) { (item) throws(TemplateError) in
      try folded(try plainKey(item), isSensitive)
    }
    var groups: [Value] = []
    var start = 0
    while start < pairs.count {
      var end = start + 1
      while end < pairs.count, try isEqual(first(pairs[start]), first(pairs[end])) { end += 1 }
      let members = pairs[start..<end].map(second)
      groups.append(
        .tuple(
          try Items([try plainKey(members[0]), try meter.list(Array(members))], isGroup: true, meter: meter)))
      start = end
    }
    return try meter.list(groups)
  }

  private func chunks(_ name: String, _ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
    let values = try arguments.bound(name, [name == "batch" ? "linecount" : "slices", "fill_with"], required: 1)
    let count = try integer(values[0] ?? .none)
    let fill = given(values[1])
    let all = try items(of: value)
    var results: [Value] = []
    if name == "batch" {
      var start = 0
      while start < all.count {
        // A count that is never reached gives one batch.
        let end = count > 0 ? start + min(count, all.count - start) : all.count
        var batch = Array(all[start..<end])
        if let fill, batch.count < count {
          try meter.check((count > meter.limits.memoryBytes ? .max / 64 : count) * MemoryLayout<Value>.stride)
          batch += Array(repeating: fill, count: count - batch.count)
        }
        results.append(try meter.list(batch))
        start = end
      }
      return try meter.generator(results)
    }
    guard count != 0 else { throw .operation("integer division or modulo by zero") }
    guard count > 0 else { return try meter.generator([]) }
    let (size, longer) = all.count.quotientAndRemainder(dividingBy: count)
    var start = 0
    for index in 0..<count {
      try meter.step()
      let end = start + size + (index < longer ? 1 : 0)
      var slice = Array(all[start..<end])
      if let fill, index >= longer { slice.append(fill) }
      results.append(try meter.list(slice))
      start = end
    }
    return try meter.generator(results)
  }
}

extension Array {
  /// `map` for what throws our errors.
  func mapped<Result>(
    _ transform: (Element) throws(TemplateError) -> Result
  ) throws(TemplateError) -> [Result] {
    var results: [Result] = []
    results.reserveCapacity(count)
    for element in self { results.append(try transform(element)) }
    return results
  }
}
