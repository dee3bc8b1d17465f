import ArgumentParser
import CanonicalJSON
import FileAccess
import SharedPack
import TreeStore

extension StoreCommand {
  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "rm", abstract: "Remove documents from a store.",
      discussion: """
        sharedpack store rm library novels/emma.txt
        sharedpack store rm library emma.txt --forget

        The end of a name from a slash on, such as emma.txt, is enough where only one
        document has it. `sharedpack store gc` frees the space of what no other document
        uses; --forget does it at once, and leaves no byte of the texts that no other
        document has. Done again after it was interrupted, it ends what it began.
        """)

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @Argument(help: "The documents' names.")
    var documents: [String]

    @Flag(help: "Leave nothing of the documents in the store's files.")
    var forget = false

    @OptionGroup var output: JSONOption

    func run() throws {
      let names: [String]
      do throws(Refusal) {
        names = try StoreCommand.names(documents, in: store)
      } catch {
        // It may have been removed by a call that did not come to its end, and its bytes may be there.
        if forget, error.name == .missingDocument {
          _ = try DocumentStore.removeDocuments(named: [], from: store, forgetting: true)
        }
        throw error
      }
      let kept = try DocumentStore.removeDocuments(named: names, from: store, forgetting: forget)
      if output.json {
        Console.output(.members(["removed": .array(names.map(JSONValue.string))]))
      } else {
        for name in names { Console.output("\(forget ? "forgotten" : "removed")\t\(name)") }
      }
      if kept > 0 {
        Console.error(
          "sharedpack: \(store): \(Format.count(kept, "part")) could not be written anew and may hold some of it; "
            + "`sharedpack store gc \(store) --all` says why"
        )
      }
    }
  }

  struct Pin: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Keep documents when others make room.", discussion: "sharedpack store pin library emma.txt")

    @OptionGroup var pinning: Pinning

    func run() throws { try pinning.pin(true) }
  }

  struct Unpin: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Let documents make room for others.", discussion: "sharedpack store unpin library emma.txt")

    @OptionGroup var pinning: Pinning

    func run() throws { try pinning.pin(false) }
  }

  /// Documents that stay, or no longer.
  struct Pinning: ParsableArguments {
    @Argument(help: "The store.", completion: .directory)
    var store: String

    @Argument(help: "The documents' names.")
    var documents: [String]

    @OptionGroup var output: JSONOption

    func pin(_ isPinned: Bool) throws {
      let names = try StoreCommand.names(documents, in: store)
      try DocumentStore.pinDocuments(named: names, isPinned, in: store)
      let verb = isPinned ? "pinned" : "unpinned"
      if output.json {
        Console.output(.object([JSONValue.Member(verb, .array(names.map(JSONValue.string)))]))
      } else {
        for name in names { Console.output("\(verb)\t\(name)") }
      }
    }
  }

  /// The full names of documents that were named, each once.
  fileprivate static func names(_ documents: [String], in store: String) throws(Refusal) -> [String] {
    let opened = try TreeStore(opening: store)
    var names: [String] = []
    for document in documents {
      let name = try opened.requireDocument(named: document).name
      if !names.contains(name) { names.append(name) }
    }
    return names
  }
}
