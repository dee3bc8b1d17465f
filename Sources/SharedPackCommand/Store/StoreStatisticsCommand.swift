import ArgumentParser
import CanonicalJSON
import SharedPack
import TreeStore

extension StoreCommand {
  struct Statistics: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "stats", abstract: "Show how much a store holds.", discussion: "sharedpack store stats library")

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @OptionGroup var output: JSONOption

    func run() throws {
      let store = try TreeStore(opening: store)
      if output.json {
        Console.output(try StoreDescription.json(store))
      } else {
        Console.output(try StoreDescription.text(store))
      }
    }
  }
}
