import ArgumentParser
import CanonicalJSON
import FileAccess
import SharedPack
import TreeStore

extension StoreCommand {
  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "ls", abstract: "List the documents of a store.",
      discussion: """
        sharedpack store ls library
        sharedpack store ls library 'letters/*'

        In a pattern, * stands for any characters and ? for one. The list is written while
        it is read: a store of millions of documents needs no memory for it.
        """)

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @Argument(help: "Only documents whose names are like this.")
    var pattern: String?

    @OptionGroup var output: JSONOption

    func run() throws {
      let store = try TreeStore(opening: store)
      var isFirst = true
      try store.forEachDocument(matching: pattern.map { NamePattern($0) }) { (document) throws(Refusal) in
        if output.json {
          Console.output(isFirst ? "[" : ",")
          Console.output(StoreCommand.json(document).indented, terminator: "")
        } else {
          Console.output(
            "\(document.name)\t\(Format.count(document.tokenCount, "token"))\t"
              + "\(Format.count(document.chunkCount, "chunk"))\t\(Format.bytes(document.textByteCount))"
              + (document.isPinned ? "\tpinned" : ""))
        }
        isFirst = false
      }
      if output.json { Console.output(isFirst ? "[]" : "\n]") }
    }
  }
}
