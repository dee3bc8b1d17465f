extension JSONValue {
  /// The canonical text: members sorted by the bytes of their keys, no white space, the shortest escapes.
  ///
  /// Equal values have equal texts, so a text can be hashed.
  public var canonical: [UInt8] {
    var output: [UInt8] = []
    write(into: &output, indentation: nil, sortingKeys: true)
    return output
  }

  /// A text for people: members in their order, and two spaces of indentation for each level.
  public var indented: String {
    var output: [UInt8] = []
    write(into: &output, indentation: 0, sortingKeys: false)
    return String(decoding: output, as: UTF8.self)
  }

  private func write(into output: inout [UInt8], indentation: Int?, sortingKeys: Bool) {
    switch self {
    case .null: output.append(contentsOf: "null".utf8)
    case .boolean(let value): output.append(contentsOf: (value ? "true" : "false").utf8)
    case .integer(let value): output.append(contentsOf: String(value).utf8)
    case .number(let value):
      precondition(value.isFinite, "JSON has no such number")
      output.append(contentsOf: value.description.utf8)
    case .string(let value): Self.write(value, into: &output)
    case .array(let values):
      Self.writeList(values, brackets: "[]", into: &output, indentation: indentation) { value, inner, output in
        value.write(into: &output, indentation: inner, sortingKeys: sortingKeys)
      }
    case .object(let members):
      let ordered =
        sortingKeys ? members.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) } : members
      Self.writeList(ordered, brackets: "{}", into: &output, indentation: indentation) { member, inner, output in
        Self.write(member.key, into: &output)
        output.append(contentsOf: (inner == nil ? ":" : ": ").utf8)
        member.value.write(into: &output, indentation: inner, sortingKeys: sortingKeys)
      }
    }
  }

  private static func writeList<Element>(
    _ elements: [Element], brackets: String, into output: inout [UInt8], indentation: Int?,
    element: (Element, Int?, inout [UInt8]) -> Void
  ) {
    let brackets = Array(brackets.utf8)
    output.append(brackets[0])
    let inner = indentation.map { $0 + 2 }
    for (index, each) in elements.enumerated() {
      if index > 0 { output.append(UInt8(ascii: ",")) }
      if let inner { newLine(inner, into: &output) }
      element(each, inner, &output)
    }
    if let indentation, !elements.isEmpty { newLine(indentation, into: &output) }
    output.append(brackets[1])
  }

  private static func newLine(_ indentation: Int, into output: inout [UInt8]) {
    output.append(UInt8(ascii: "\n"))
    output.append(contentsOf: repeatElement(UInt8(ascii: " "), count: indentation))
  }

  private static func write(_ string: String, into output: inout [UInt8]) {
    output.append(UInt8(ascii: "\""))
    for byte in string.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): output.append(contentsOf: [UInt8(ascii: "\\"), byte])
      case 0x0A: output.append(contentsOf: "\\n".utf8)
      case 0x0D: output.append(contentsOf: "\\r".utf8)
      case 0x09: output.append(contentsOf: "\\t".utf8)
      case 0..<0x20:
        let digits = String(byte, radix: 16)
        output.append(contentsOf: "\\u\(String(repeating: "0", count: 4 - digits.count))\(digits)".utf8)
      default: output.append(byte)
      }
    }
    output.append(UInt8(ascii: "\""))
  }
}
