/// Cuts a run of Chinese characters where a hidden Markov model sees words begin and end.
///
/// Every character begins a word, stands within it, ends it or is one; the most probable sequence of these is taken.
/// Source: the package `jieba`, whose `finalseg` holds the probabilities (natural logarithms).
struct WordBoundaryModel: Sendable {
  private enum Place: Int, CaseIterable {
    case begins, within, ends, single

    /// Its letter in the files.
    var letter: String { ["B", "M", "E", "S"][rawValue] }

    /// The places that may stand before it, those with the later letter first: they win ties.
    var before: [Place] {
      switch self {
      case .begins: [.single, .ends]
      case .within: [.within, .begins]
      case .ends: [.within, .begins]
      case .single: [.single, .ends]
      }
    }
  }

  private static let impossible = -3.14e100

  private let start: [Double]
  /// From a place, to a place.
  private let transitions: [[Double]]
  private let emissions: [Unicode.Scalar: [Double]]

  /// - Parameters: the texts of `prob_start.py`, `prob_trans.py` and `prob_emit.py`: each an object of numbers, or of
  ///   objects of numbers, by B, M, E and S.
  /// - Throws: `SampleFault` naming the file.
  init(start: String, transitions: String, emissions: String) throws(SampleFault) {
    let starts = try PythonNumbers(start, "prob_start.py").values
    self.start = Place.allCases.map { starts[[$0.letter]] ?? Self.impossible }
    let steps = try PythonNumbers(transitions, "prob_trans.py").values
    self.transitions = Place.allCases.map { from in
      Place.allCases.map { steps[[from.letter, $0.letter]] ?? Self.impossible }
    }
    var table: [Unicode.Scalar: [Double]] = [:]
    for (path, value) in try PythonNumbers(emissions, "prob_emit.py").values {
      guard path.count == 2, let place = Place.allCases.first(where: { $0.letter == path[0] }),
        let scalar = path[1].unicodeScalars.first
      else { throw SampleFault("prob_emit.py", "has an entry that is no character of B, M, E or S") }
      table[scalar, default: [Double](repeating: Self.impossible, count: 4)][place.rawValue] = value
    }
    self.emissions = table
  }

  /// - Parameter run: Chinese characters, not empty.
  func words(_ run: ArraySlice<Unicode.Scalar>) -> [String] {
    let unknown = [Double](repeating: Self.impossible, count: 4)
    // The best sequence that ends in each place, and for every character what stood before each place.
    var best = start
    var origins: [[Place]] = []
    for (index, scalar) in run.enumerated() {
      let emission = emissions[scalar] ?? unknown
      if index == 0 {
        for place in Place.allCases { best[place.rawValue] = start[place.rawValue] + emission[place.rawValue] }
        continue
      }
      var next = unknown
      var origin: [Place] = []
      for place in Place.allCases {
        let choices = place.before.map { before in
          (best[before.rawValue] + transitions[before.rawValue][place.rawValue] + emission[place.rawValue], before)
        }
        let chosen = choices[1].0 > choices[0].0 ? choices[1] : choices[0]
        next[place.rawValue] = chosen.0
        origin.append(chosen.1)
      }
      best = next
      origins.append(origin)
    }
    var place = best[Place.ends.rawValue] > best[Place.single.rawValue] ? Place.ends : .single
    var places = [place]
    for origin in origins.reversed() {
      place = origin[place.rawValue]
      places.append(place)
    }
    var words: [String] = []
    var begun = run.startIndex
    for (index, place) in zip(run.indices, places.reversed()) where place == .ends || place == .single {
      words.append(TextRules.string(run[begun...index]))
      begun = index + 1
    }
    return words
  }
}

/// The numbers of a Python source that is one object of numbers, or of objects of numbers, by their keys from outside in.
private struct PythonNumbers {
  private(set) var values: [[String]: Double] = [:]

  init(_ source: String, _ name: String) throws(SampleFault) {
    var path: [String] = []
    var key: String?
    var rest = source.utf8.drop { $0 != UInt8(ascii: "{") }[...]
    while let byte = rest.first {
      rest.removeFirst()
      switch byte {
      case UInt8(ascii: "{"):
        if let outer = key { path.append(outer) }
        key = nil
      case UInt8(ascii: "}"): path = path.dropLast()
      case UInt8(ascii: "'"):
        guard let end = rest.firstIndex(of: byte), let text = Self.unescaped(rest[..<end]) else {
          throw SampleFault(name, "has a text that does not end or is no character")
        }
        key = text
        rest = rest[rest.index(after: end)...]
      case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
        let more = rest.prefix { "0123456789.e+-".utf8.contains($0) }
        guard let inner = key, let number = Double(String(decoding: [byte] + more, as: UTF8.self)), path.count < 2
        else {
          throw SampleFault(name, "has a number without a key, or none where one must be")
        }
        values[path + [inner]] = number
        key = nil
        rest = rest[more.endIndex...]
      default: break
      }
    }
    guard !values.isEmpty else { throw SampleFault(name, "has no numbers") }
  }

  /// `\u4e00` is the one escape that the files have.
  private static func unescaped(_ text: Substring.UTF8View) -> String? {
    let text = String(decoding: text, as: UTF8.self)
    guard text.hasPrefix("\\u") else { return text.contains("\\") ? nil : text }
    return UInt32(text.dropFirst(2), radix: 16).flatMap(Unicode.Scalar.init).map { String(Character($0)) }
  }
}
