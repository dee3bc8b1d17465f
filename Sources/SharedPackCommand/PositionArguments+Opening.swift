import CommandSupport
import FileAccess
import SharedPack

extension PositionArguments {
  /// Opens a model to evaluate it.
  func open(_ path: String, threads: ThreadCountArgument?) throws(Refusal) -> LanguageModel {
    try LanguageModel(opening: path, threadCount: threads?.count, positions: positions)
  }
}
