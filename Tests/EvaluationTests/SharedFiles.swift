import FileAccess
import Foundation
import Testing

/// Where the tests find cases: their own beside them, others and a trained model in a folder beside the package.
enum SharedFiles {
  /// `../shared` of the package. Tests that need it say so when they are skipped.
  static let directory: String = {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    return root.deletingLastPathComponent().appendingPathComponent("shared").path
  }()

  static let stories = "\(directory)/models/stories260K"
  static let hasStories = Directory.exists("\(stories)/model.safetensors") != nil
}

/// The folder of a golden case.
struct GoldenFolder: Sendable, CustomTestStringConvertible {
  let path: String
  var testDescription: String { Directory.split(path).name }

  static let committed = folders(Bundle.module.resourceURL?.appendingPathComponent("Fixtures/golden").path ?? "")
  static let shared = folders("\(SharedFiles.directory)/golden")

  private static func folders(_ parent: String) -> [GoldenFolder] {
    ((try? Directory.names(in: parent)) ?? []).map { "\(parent)/\($0)" }
      .filter { Directory.exists("\($0)/case.json") == .file }.map(GoldenFolder.init(path:))
  }
}

/// A directory that is removed with its last user.
final class Scratch: Sendable {
  let path: String

  init() throws(Refusal) { path = try Directory.temporary("evaluation-tests") }

  deinit { try? Directory.removeTree(path) }
}
