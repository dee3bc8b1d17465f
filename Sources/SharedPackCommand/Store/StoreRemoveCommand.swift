import ArgumentParser
import CanonicalJSON
import SharedPack
import TreeStore

extension StoreCommand {
  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "rm", abstract: "Remove documents from a store.",
      discussion: """
        sharedpack store rm library emma.txt

        `sharedpack store gc` frees the space of what no other document uses.
        """)

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @Argument(help: "The documents' names.")
    var documents: [String]

    @OptionGroup var output: JSONOption

    func run() throws {
      try DocumentStore.removeDocuments(named: documents, from: store)
      if output.json {
        Console.output(.members(["removed": .array(documents.map(JSONValue.string))]))
      } else {
        for document in documents { Console.output("removed\t\(document)") }
      }
    }
  }
}
