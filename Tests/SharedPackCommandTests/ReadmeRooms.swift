/// The table in README.md that says what each target may import.
struct ReadmeRooms {
  static let header = "| target | holds | may import |"

  private let rows: [(names: [String], imports: [String])]

  /// - Parameter readme: a text with the table; without one there are no rows.
  init(parsing readme: String) {
    let table = readme.split(separator: "\n", omittingEmptySubsequences: false).drop { $0 != Self.header }
      .dropFirst(2).prefix { $0.hasPrefix("|") }
    func names(_ cell: Substring) -> [String] {
      cell.split(separator: ",").map { $0.trimmingPrefix(" ").filter { $0 != "`" && $0 != " " } }.filter { $0 != "–" }
    }
    rows = table.map { line in
      let cells = line.split(separator: "|")
      return cells.count == 3 ? (names(cells[0]), names(cells[2])) : ([String(line)], [])
    }
  }

  /// What is to be changed so that the table says what `Package.swift` does, a line for each row.
  func faults(_ manifest: PackageManifest) -> [String] {
    var faults: [String] = []
    let named = rows.flatMap(\.names)
    for row in rows {
      for name in row.names {
        guard let room = manifest.rooms.first(where: { $0.name == name }) else {
          faults.append("the row of `\(name)` names no target in Sources: remove it")
          continue
        }
        if row.imports.sorted() != room.imports.sorted() {
          faults.append("the row of `\(name)` must say that it may import \(Self.cell(room.imports))")
        }
        if named.count(where: { $0 == name }) > 1 { faults.append("`\(name)` has two rows: remove one") }
      }
    }
    for room in manifest.rooms where !named.contains(room.name) {
      faults.append("add a row: | `\(room.name)` | … | \(Self.cell(room.imports)) |")
    }
    return faults
  }

  private static func cell(_ imports: [String]) -> String { imports.isEmpty ? "–" : imports.joined(separator: ", ") }
}
