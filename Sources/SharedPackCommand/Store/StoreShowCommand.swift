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

    @Argument(help: "The document's name.")
    var document: String

    @OptionGroup var output: JSONOption

    func run() throws {
      let document = try TreeStore(opening: store).requireDocument(named: document)
      if output.json {
        Console.output(StoreCommand.json(document, listingChunks: true))
      } else {
        Console.output(
          """
          name    \(document.name)
          text    \(document.textByteCount) bytes, SHA-256 \(document.textDigest)
          tokens  \(document.tokenCount)
          chunks  \(document.chunks.count)
          """)
        for (number, chunk) in document.chunks.enumerated() { Console.output("  \(number)\t\(chunk)") }
      }
    }
  }
}
