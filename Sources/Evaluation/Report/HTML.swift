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
