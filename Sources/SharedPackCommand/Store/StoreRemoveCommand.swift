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
        sharedpack store rm library emma.txt --forget

        `sharedpack store gc` frees the space of what no other document uses; --forget does
        it at once, and leaves no byte of the texts that no other document has.
        """)

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @Argument(help: "The documents' names.")
    var documents: [String]

    @Flag(help: "Leave nothing of the documents in the store's files.")
    var forget = false

    @OptionGroup var output: JSONOption

    func run() throws {
      let kept = try DocumentStore.removeDocuments(named: documents, from: store, forgetting: forget)
      if output.json {
        Console.output(.members(["removed": .array(documents.map(JSONValue.string))]))
      } else {
        for document in documents { Console.output("\(forget ? "forgotten" : "removed")\t\(document)") }
      }
      if kept > 0 {
        Console.error(
          "sharedpack: \(store): \(Format.count(kept, "damaged part")) could not be written anew and may hold some of it"
        )
      }
    }
  }
}

extension StoreCommand {
  struct Pin: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Keep documents when others make room.", discussion: "sharedpack store pin library emma.txt")

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @Argument(help: "The documents' names.")
    var documents: [String]

    @OptionGroup var output: JSONOption

    func run() throws { try StoreCommand.pin(true, documents, in: store, output) }
  }

  struct Unpin: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Let documents make room for others.", discussion: "sharedpack store unpin library emma.txt")

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @Argument(help: "The documents' names.")
    var documents: [String]

    @OptionGroup var output: JSONOption

    func run() throws { try StoreCommand.pin(false, documents, in: store, output) }
  }

  fileprivate static func pin(
    _ isPinned: Bool, _ documents: [String], in store: String, _ output: JSONOption
  ) throws {
    try DocumentStore.pinDocuments(named: documents, isPinned, in: store)
    let verb = isPinned ? "pinned" : "unpinned"
    if output.json {
      Console.output(.object([JSONValue.Member(verb, .array(documents.map(JSONValue.string)))]))
    } else {
      for document in documents { Console.output("\(verb)\t\(document)") }
    }
  }
}
