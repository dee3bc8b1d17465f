import ArgumentParser
import CanonicalJSON
import SharedPack
import TreeStore

extension StoreCommand {
  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "ls", abstract: "List the documents of a store.", discussion: "sharedpack store ls library")

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @OptionGroup var output: JSONOption

    func run() throws {
      let store = try TreeStore(opening: store)
      if output.json {
        Console.output(.array(store.documents.map { StoreCommand.json($0) }))
      } else {
        for document in store.documents {
          Console.output(
            "\(document.name)\t\(Format.count(document.tokenCount, "token"))\t"
              + "\(Format.count(document.chunks.count, "chunk"))\t"
              + Format.bytes(document.textByteCount))
        }
      }
    }
  }
}
