import ArgumentParser
import CanonicalJSON
import SharedPack
import TreeStore

extension StoreCommand {
  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show a document of a store.", discussion: "sharedpack store show library emma.txt")

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @Argument(help: "The document's name, or its end from a slash on where only one document has it.")
    var document: String

    @OptionGroup var output: JSONOption

    func run() throws {
      let store = try TreeStore(opening: store)
      let document = try store.requireDocument(named: document)
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
        if !document.metadata.isEmpty { Console.output("about   \(document.metadata)") }
        for (number, chunk) in chunks.keys.enumerated() {
          let range = chunks.textRange(of: number).map { "\tbytes \($0.lowerBound) to \($0.upperBound)" } ?? ""
          Console.output("  \(number)\t\(chunk)\(range)")
        }
      }
    }
  }
}
