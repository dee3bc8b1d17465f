/// Text for a page, with the characters escaped that have a meaning in HTML.
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

/// The start of a plot: the opening tag of its element, and its title.
/// - Parameter attributes: of the element, beside its own.
func plotStart(width: Double, height: Double, title: String, attributes: String = "") -> [String] {
  [
    "<svg \(attributes)viewBox=\"0 0 \(coordinate(width)) \(coordinate(height))\" role=\"img\" "
      + "aria-label=\"\(escapedHTML(title))\">",
    "<text class=\"title\" x=\"0\" y=\"14\">\(escapedHTML(title))</text>",
  ]
}
