import Conversion
import FileAccess
import Foundation
import SharedPack
import Testing
import TinyCheckpoint

// README: the code between the marks is the README's, letter by letter.
// [example]
/// Stores a book unless it is there, and asks about it.
func answer(_ question: String, about book: String, model path: String, library: String) async throws -> String {
  let model = try LanguageModel(opening: path)
  do {  // A store has one writer at a time, until it leaves its scope.
    var builder = try StoreBuilder(library, model: model)
    _ = try builder.add(DocumentSource(name: "book", path: book)) { done, encoded, total in
      print("\(done) of \(total) tokens, \(encoded) encoded")
    }
  }
  let store = try DocumentStore(opening: library, model: model)
  let prompt = try model.textPrompt(question)
  let selection = try model.select(from: [store.document(named: "book")], query: prompt)
  var text = ""
  for try await event in try model.generate(prompt, context: selection) {
    switch event {
    case .promptProgress: break
    case .text(let piece): text += piece
    case .finished(let summary): print("\(summary.contextRows) rows, \(summary.secondsInAll) s")
    }
  }
  return text
}
// [example]

@Suite struct ReadmeExampleTests {
  /// The example works, twice: the second time everything is there.
  @Test func exampleRuns() async throws {
    let directory = try Directory.temporary("sharedpack-readme")
    defer { try? Directory.removeTree(directory) }
    try Directory.create("\(directory)/checkpoint")
    try TinyCheckpoint.write(to: "\(directory)/checkpoint")
    _ = try Converter(directory: "\(directory)/checkpoint", options: Converter.Options())
      .run(output: "\(directory)/model.spk") { _ in }
    try Data("a book that is short, but long enough for more than one chunk of it".utf8)
      .write(to: URL(fileURLWithPath: "\(directory)/book.txt"))
    var answers: [String] = []
    for _ in 0..<2 {
      answers.append(
        try await answer(
          "who", about: "\(directory)/book.txt", model: "\(directory)/model.spk", library: "\(directory)/library"))
    }
    #expect(answers[0] == answers[1])
  }

  /// The README shows what is compiled here.
  @Test func exampleIsTheReadmes() throws {
    let tests = URL(fileURLWithPath: #filePath)
    let parts = try String(contentsOf: tests, encoding: .utf8).components(separatedBy: "// [example]\n")
    #expect(parts.count == 3)
    let readme = try String(
      contentsOf: tests.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("README.md"), encoding: .utf8)
    #expect(readme.contains("```swift\nimport SharedPack\n\n" + parts[1] + "```\n"))
  }
}
