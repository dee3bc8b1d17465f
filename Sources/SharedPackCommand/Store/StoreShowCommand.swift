import ArgumentParser
import CanonicalJSON
import FileAccess
import SharedPack
import TreeStore

extension StoreCommand {
  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show a document of a store.",
      discussion: """
        sharedpack store show library emma.txt
        sharedpack store show library emma.txt --text
        sharedpack store show library emma.txt --text --bytes 1200-1500
        """)

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @Argument(help: "The document's name, or its end from a slash on where only one document has it.")
    var document: String

    @Flag(help: "Write its text, where the store keeps it (build --keep-text).")
    var text = false

    @Option(
      help: ArgumentHelp("With --text: only these bytes of it, from the first up to the last.", valueName: "range"))
    var bytes: ByteRangeArgument?

    @OptionGroup var output: JSONOption

    func validate() throws {
      guard bytes == nil || text else { throw ValidationError("--bytes needs --text.") }
      guard !text || !output.json else { throw ValidationError("--text is no JSON.") }
    }

    func run() throws {
      let store = try TreeStore(opening: store)
      let document = try store.requireDocument(named: document)
      if text { return try writeText(of: document, in: store) }
      let chunks = try store.chunks(of: document)
      if output.json {
        Console.output(StoreCommand.json(document, listing: chunks))
      } else {
        Console.output(
          """
          name    \(document.name)
          text    \(document.textByteCount) bytes, SHA-256 \(document.textDigest)
          tokens  \(document.tokenCount)
          chunks  \(document.chunkCount)
          """)
        if document.isPinned { Console.output("pinned  yes") }
        if document.keepsText { Console.output("kept    its text, which --text shows") }
        if !document.metadata.isEmpty { Console.output("about   \(document.metadata)") }
        for (number, chunk) in chunks.keys.enumerated() {
          let range = chunks.textRange(of: number).map { "\tbytes \($0.lowerBound) to \($0.upperBound)" } ?? ""
          Console.output("  \(number)\t\(chunk)\(range)")
        }
      }
    }

    private func writeText(of document: StoredDocument, in store: TreeStore) throws {
      let whole = 0..<document.textByteCount
      guard bytes.map({ $0.range.upperBound <= whole.upperBound }) ?? true else {
        throw Refusal(
          .outOfRange, file: store.path, structure: "document \"\(document.name)\"",
          "has \(document.textByteCount) bytes of text")
      }
      guard let text = try store.text(of: document, bytes: bytes?.range) else {
        throw Refusal(
          .noText, file: store.path, structure: "document \"\(document.name)\"",
          "its text is not kept: `sharedpack store build --keep-text` keeps it")
      }
      Console.output(bytes: text)
    }
  }
}

/// The bytes from one up to another, such as 1200-1500, as an argument.
struct ByteRangeArgument: ExpressibleByArgument {
  let range: Range<Int>

  init?(argument: String) {
    let parts = argument.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
    guard parts.count == 2, let start = parts[0], let end = parts[1], 0 <= start, start <= end else { return nil }
    range = start..<end
  }
}

extension Refusal.Name {
  /// A part of a text was asked for that it does not have.
  static let outOfRange = Refusal.Name("out-of-range", .usage)
  /// The store does not keep the text of a document.
  static let noText = Refusal.Name("no-text", .missing)
}
