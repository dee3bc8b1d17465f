import Foundation
import Testing

/// README.md holds: its tables, its links and its first answer.
@Suite struct ReadmeTests {
  static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  static func text(_ path: String) throws -> String {
    try String(contentsOf: repository.appending(path: path), encoding: .utf8)
  }

  // MARK: The rooms

  @Test func roomsAreThoseOfPackageSwift() throws {
    let manifest = try PackageManifest(parsing: Self.text("Package.swift"))
    #expect(manifest.rooms.contains { $0.name == "SharedPack" })
    let faults = try ReadmeRooms(parsing: Self.text("README.md")).faults(manifest)
    #expect(faults.isEmpty, "README.md, The rooms: \(faults.joined(separator: "; "))")
  }

  static let manifest = """
    // swift-tools-version: 6.2
    let strict: [SwiftSetting] = [.strictMemorySafety()]
    let package = Package(
      name: "example",  // Not a target's name.
      products: [.library(name: "Top", targets: ["Top"])],
      dependencies: [.package(url: "https://example.org/crypto", from: "1.0.0")],
      targets: [
        .systemLibrary(name: "CZip", providers: [.apt(["libzip-dev"])]),
        .target(name: "Base", swiftSettings: strict),
        .executableTarget(
          name: "Top",
          dependencies: [
            "Base", "CZip",
            .product(name: "Crypto", package: "crypto"),
          ]),
        .testTarget(name: "TopTests", dependencies: ["Top", "Helpers"]),
        .target(name: "Helpers", dependencies: ["Base"], path: "Tests/Helpers"),
      ]
    )
    """

  static let table = """
    Text before it.

    | target | holds | may import |
    |---|---|---|
    | `CZip` | a library | – |
    | `Base` | the foundation, and more | – |
    | `Top` | **the rest** | CZip, Base, Crypto |

    Text after it.
    """

  @Test func manifestIsRead() throws {
    let manifest = try PackageManifest(parsing: Self.manifest)
    #expect(manifest.targets.map(\.name) == ["CZip", "Base", "Top", "TopTests", "Helpers"])
    #expect(manifest.rooms.map(\.name) == ["CZip", "Base", "Top"])
    #expect(manifest.targets.map(\.imports) == [[], [], ["Base", "CZip", "Crypto"], ["Top", "Helpers"], ["Base"]])
    #expect(ReadmeRooms(parsing: Self.table).faults(manifest) == [])
  }

  @Test(arguments: [
    (
      "`Base` | the foundation, and more | –", "`Base` | the foundation, and more | CZip",
      "the row of `Base` must say that it may import –"
    ),
    ("CZip, Base, Crypto", "CZip, Base", "the row of `Top` must say that it may import Base, CZip, Crypto"),
    (
      "CZip, Base, Crypto", "CZip, Base, Base, Crypto",
      "the row of `Top` must say that it may import Base, CZip, Crypto"
    ),
    ("CZip, Base, Crypto", "–", "the row of `Top` must say that it may import Base, CZip, Crypto"),
    ("| `CZip` | a library | – |\n", "", "add a row: | `CZip` | … | – |"),
    ("| `CZip` |", "| `CZip`, `CZap` |", "the row of `CZap` names no target in Sources: remove it"),
    (
      "| `Top` | **the rest** |", "| `Helpers` | for tests | Base |\n| `Top` | **the rest** |",
      "the row of `Helpers` names no target in Sources: remove it"
    ),
  ])
  func wrongRowIsNamed(_ right: String, _ wrong: String, _ fault: String) throws {
    let table = Self.table.replacing(right, with: wrong)
    #expect(table != Self.table)
    #expect(ReadmeRooms(parsing: table).faults(try PackageManifest(parsing: Self.manifest)) == [fault])
  }

  @Test func tableMustBeThere() throws {
    let manifest = try PackageManifest(parsing: Self.manifest)
    #expect(ReadmeRooms(parsing: "| target | imports |").faults(manifest).count == 3)
  }

  @Test(arguments: [
    ("dependencies: [\"Top\", \"Helpers\"]", "dependencies: all"),
    (".product(name: \"Crypto\", package: \"crypto\")", "crypto"),
    (".product(name: \"Crypto\", package: \"crypto\")", ".product(package: \"crypto\")"),
    (".target(name: \"Base\", swiftSettings: strict)", "base"),
    (".target(name: \"Base\", swiftSettings: strict)", ".plugin(name: \"Base\")"),
    ("\"Base\", \"CZip\",", "\"Base\" + \"CZip\","),
    ("targets: [\n", "targets: list + [\n"),
    ("let package", "let other"),
  ])
  func whatWouldHaveToBeRunIsRefused(_ literal: String, _ code: String) {
    let text = Self.manifest.replacing(literal, with: code)
    #expect(text != Self.manifest)
    #expect(throws: PackageManifest.Fault.self) { try PackageManifest(parsing: text) }
  }

  // MARK: Where to look, and links

  /// Each row of the table names a file and a text that stands in it.
  @Test func whatToLookForIsThere() throws {
    let table = try Self.text("README.md").split(separator: "\n").drop { $0 != "| idea | file | look for |" }
      .dropFirst(2).prefix { $0.hasPrefix("|") }
    #expect(table.count >= 7)
    for row in table {
      let match = try #require(
        row.wholeMatch(of: /\| .+ \| \[(.+)\]\((.+)\) \| `(.+)` \|/), "a row of another form: \(row)")
      #expect(match.2.hasSuffix("/\(match.1)"))
      #expect(
        (try? Self.text(String(match.2)))?.contains(match.3) == true, "README.md says that \(match.2) has `\(match.3)`")
    }
  }

  /// A link leads to a file of the repository and, with a fragment, to a heading in it.
  @Test(arguments: [
    "README.md", "Tools/results/README.md", "Tools/demo-model/README.md", "Tools/train/README.md",
    "Formats/model-pack.md", "Formats/packed-tile.md", "Formats/tokenizer.md", "Formats/tree-store.md",
    "Formats/store-export.md",
  ])
  func linksLeadSomewhere(_ path: String) throws {
    let page = Self.repository.appending(path: path)
    for link in try Self.text(path).matches(of: /\]\(([^)#]*)(#[^)]*)?\)/) where !link.1.contains("://") {
      let target = link.1.isEmpty ? page : page.deletingLastPathComponent().appending(path: String(link.1))
      #expect(FileManager.default.fileExists(atPath: target.path), "\(path) links to \(link.1)")
      guard let fragment = link.2 else { continue }
      let headings = try String(contentsOf: target, encoding: .utf8).split(separator: "\n").filter { $0.hasPrefix("#") }
      #expect(headings.contains { Self.fragment($0) == fragment }, "\(path) links to \(link.1)\(fragment)")
    }
  }

  /// The fragment under which GitHub finds a heading.
  private static func fragment(_ heading: Substring) -> String {
    let title = heading.drop { $0 == "#" }.dropFirst().lowercased()
    return "#" + title.filter { $0.isLetter || $0.isNumber || " -_".contains($0) }.replacing(" ", with: "-")
  }

  // MARK: The first answer

  /// The commands under "A model that reads trees" print what stands there; `…` stands for anything.
  @Test func firstAnswerIsWhatTheProgramSays() throws {
    let workplace = try Workplace()
    let root = URL(fileURLWithPath: workplace.path).appending(path: "readme")
    let built = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    let files = FileManager.default
    try files.createDirectory(at: root.appending(path: ".build"), withIntermediateDirectories: true)
    try files.createSymbolicLink(at: root.appending(path: ".build/release"), withDestinationURL: built)
    try files.createSymbolicLink(
      at: root.appending(path: "Tools"), withDestinationURL: Self.repository.appending(path: "Tools"))

    let section = try #require(Self.text("README.md").components(separatedBy: "## A model that reads trees\n").last)
    let shown = section.components(separatedBy: "```\n")[1].replacing("\\\n", with: "")
    let steps = shown.components(separatedBy: "$ ").dropFirst().map { $0.split(separator: "\n") }
    #expect(steps.count == 6)
    let path = try #require(steps.first?.first)
    for step in steps.dropFirst() {
      let process = Process()
      let log = root.appending(path: "log")
      process.executableURL = URL(fileURLWithPath: "/bin/bash")
      process.arguments = ["-c", "exec > log 2>&1; \(path); \(step[0])"]
      process.currentDirectoryURL = root
      try process.run()
      process.waitUntilExit()
      #expect(process.terminationStatus == 0)
      let printed = try String(contentsOf: log, encoding: .utf8).split(separator: "\n")
        .filter { !$0.allSatisfy(\.isWhitespace) }
      try #require(printed.count == step.count - 1, "\(step[0]) printed \(printed)")
      for (line, expected) in zip(printed, step.dropFirst()) {
        #expect(Self.matches(line, expected), "\(step[0]) printed \(line)")
      }
    }
  }

  private static func matches(_ line: Substring, _ pattern: Substring) -> Bool {
    var rest = line
    let parts = pattern.components(separatedBy: "…")
    for (number, part) in parts.enumerated() where !part.isEmpty {
      guard let range = number == parts.count - 1 ? rest.range(of: part, options: [.backwards]) : rest.range(of: part),
        number > 0 || range.lowerBound == rest.startIndex
      else { return false }
      rest = rest[range.upperBound...]
    }
    return parts.last == "" || rest.isEmpty
  }

  @Test func matchingCanFail() {
    #expect(Self.matches("a 12 b 3 c", "a … b … c"))
    #expect(Self.matches("a 12", "a …"))
    #expect(!Self.matches("a 12 b", "a …b…c"))
    #expect(!Self.matches("a 12 b", "… 12"))
    #expect(!Self.matches("x a", "a"))
    #expect(!Self.matches("a b", "a"))
  }
}
