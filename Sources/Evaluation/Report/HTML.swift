/// Text for a page: characters that mean something in HTML are written out.
func escapedHTML(_ text: String) -> String {
  var result = ""
  for character in text {
    switch character {
    case "&": result += "&amp;"
    case "<": result += "&lt;"
    case ">": result += "&gt;"
    case "\"": result += "&quot;"
    default: result.append(character)
    }
  }
  return result
}

/// A coordinate in a drawing.
func coordinate(_ value: Double) -> String { ((value * 10).rounded() / 10).description }

/// What a plot starts with: the picture's element, which is still open, and its title.
/// - Parameter attributes: of the element, beside its own.
func plotStart(width: Double, height: Double, title: String, attributes: String = "") -> [String] {
  [
    "<svg \(attributes)viewBox=\"0 0 \(coordinate(width)) \(coordinate(height))\" role=\"img\" "
      + "aria-label=\"\(escapedHTML(title))\">",
    "<text class=\"title\" x=\"0\" y=\"14\">\(escapedHTML(title))</text>",
  ]
}
